"""Waiting until a local process answers, with a bound, and giving up early when it cannot.

The waiting is told apart from the asking: `answers` asks once. No Pulumi.
"""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from components.workload import Probe

# A loopback answer takes a millisecond; this bound only matters for a process that hangs.
_ASK_TIMEOUT_S = 2.0
_PAUSE_S = 0.05


@dataclass(frozen=True)
class Check:
    """One condition on one address."""

    probe: Probe
    host: str
    port: int
    path: str = "/"
    timeout_s: float = 60.0

    @classmethod
    def from_properties(cls, properties: dict[str, Any]) -> Check:
        """Read what `properties` wrote; numbers may have become floats on the way."""
        return cls(
            probe=Probe(properties["probe"]),
            host=str(properties["host"]),
            port=int(properties["port"]),
            path=str(properties["path"]),
            timeout_s=float(properties["timeout_s"]),
        )

    @property
    def properties(self) -> dict[str, Any]:
        """Plain values for Pulumi."""
        return {
            "probe": str(self.probe),
            "host": self.host,
            "port": self.port,
            "path": self.path,
            "timeout_s": int(self.timeout_s),
        }

    def __str__(self) -> str:
        match self.probe:
            case Probe.TCP:
                return f"{self.host}:{self.port} to accept connections"
            case Probe.HTTP:
                return f"http://{self.host}:{self.port}{self.path} to answer 2xx"
            case Probe.ZOOKEEPER:
                return f"the ZooKeeper server on {self.host}:{self.port} to serve clients"


def answers(check: Check) -> bool:
    """Ask once."""
    try:
        match check.probe:
            case Probe.TCP:
                with socket.create_connection((check.host, check.port), _ASK_TIMEOUT_S):
                    return True
            case Probe.HTTP:
                return _http_ok(check)
            case Probe.ZOOKEEPER:
                return b"Mode:" in _four_letters(check, b"srvr")
    except (OSError, http.client.HTTPException):
        return False


def wait(check: Check, *, give_up: Callable[[], None] = lambda: None) -> bool:
    """Wait until the condition holds; false when the bound has passed.

    `give_up` is called between two questions and may raise when waiting has become pointless.
    """
    deadline = time.monotonic() + check.timeout_s
    while not answers(check):
        give_up()
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE_S)
    return True


def _http_ok(check: Check) -> bool:
    connection = http.client.HTTPConnection(check.host, check.port, timeout=_ASK_TIMEOUT_S)
    try:
        connection.request("GET", check.path)
        return 200 <= connection.getresponse().status < 300  # noqa: PLR2004 - success
    finally:
        connection.close()


def _four_letters(check: Check, word: bytes) -> bytes:
    with socket.create_connection((check.host, check.port), _ASK_TIMEOUT_S) as connection:
        connection.settimeout(_ASK_TIMEOUT_S)
        connection.sendall(word)
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
        return answer
