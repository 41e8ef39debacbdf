"""What a ZooKeeper server says of itself, by its four-letter words. No session is made.

`mntr` tells all there is to tell and must be allowed (`4lw.commands.whitelist`); `srvr` tells most
of it and always is. https://zookeeper.apache.org/doc/current/zookeeperAdmin.html#sc_4lw
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from probe.agent.errors import AnswerError, UnreachableError
from probe.agent.text import clean
from probe.report.schema import Value

_TIMEOUT_S = 3.0
_ANSWER_BYTES_MAX = 64 * 1024
_SRVR = {
    "Zookeeper version": "version",
    "Mode": "state",
    "Node count": "znodes",
    "Connections": "connections",
    "Outstanding": "outstanding",
    "Zxid": "zxid",
}
_MNTR = {
    "zk_version": "version",
    "zk_server_state": "state",
    "zk_znode_count": "znodes",
    "zk_num_alive_connections": "connections",
    "zk_outstanding_requests": "outstanding",
    "zk_watch_count": "watches",
    "zk_avg_latency": "latency_ms",
}
_WHOLE = frozenset(("znodes", "connections", "outstanding", "watches"))
_REFUSED = "not in the whitelist"
_SILENT = "not currently serving requests"


@dataclass(frozen=True)
class Server:
    """One server: columns of its node, and whether all that there is could be asked."""

    values: Mapping[str, Value]
    tells_all: bool


async def ask(host: str, port: int) -> Server:
    """Ask a server.

    Raises:
        UnreachableError: it does not answer, or serves nobody now.
        AnswerError: it is no ZooKeeper server.
    """
    values = read_srvr(await _word(host, port, "srvr"))
    more = await _word(host, port, "mntr")
    if _REFUSED in more:
        return Server(values, tells_all=False)
    return Server({**values, **read_mntr(more)}, tells_all=True)


def read_srvr(text: str) -> dict[str, Value]:
    """Columns of an answer to `srvr`.

    Raises:
        UnreachableError: the server serves nobody now: it has no quorum.
        AnswerError: it is none.
    """
    if _SILENT in text:
        msg = "expected a server that serves, saw one without a quorum"
        raise UnreachableError(msg)
    values: dict[str, Value] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name in _SRVR:
            values[_SRVR[name]] = _typed(_SRVR[name], value.strip())
        elif name.startswith("Latency") and (found := re.search(r": [\d.]+/([\d.]+)/", line)):
            values["latency_ms"] = float(found[1])
    if not values.get("state"):
        msg = f"expected an answer to srvr, saw {text[:80]!r}: is this a ZooKeeper server?"
        raise AnswerError(msg)
    return values


def read_mntr(text: str) -> dict[str, Value]:
    """Columns of an answer to `mntr`."""
    values: dict[str, Value] = {}
    for line in text.splitlines():
        name, _, value = line.partition("\t")
        if name in _MNTR:
            values[_MNTR[name]] = _typed(_MNTR[name], value.strip())
    return values


def _typed(column: str, text: str) -> Value:
    try:
        if column in _WHOLE:
            return int(text)
        if column == "latency_ms":
            return float(text)
    except ValueError:
        return None
    # 3.9.4-7246445ec281f3dbf53dc54e970c914f39713903, built on …
    return clean(text.partition("-")[0].partition(",")[0] if column == "version" else text, 64)


async def _word(host: str, port: int, word: str) -> str:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(word.encode())
                await writer.drain()
                data = await _all(reader)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError:
        msg = f"expected an answer of {host}:{port} within {_TIMEOUT_S:g} s, saw none"
        raise UnreachableError(msg) from None
    # What no resolver and no kernel takes: a name with an empty label, a port that there is not.
    except (OSError, UnicodeError, OverflowError) as error:
        shown = (error.strerror if isinstance(error, OSError) else None) or str(error)
        msg = f"expected a connection to {host}:{port}, saw: {shown}"
        raise UnreachableError(msg) from None
    return data.decode("utf-8", "replace")


async def _all(reader: asyncio.StreamReader) -> bytes:
    data = b""
    while len(data) < _ANSWER_BYTES_MAX and (piece := await reader.read(_ANSWER_BYTES_MAX)):
        data += piece
    return data
