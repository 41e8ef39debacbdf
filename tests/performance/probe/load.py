"""Connections for the probe to find: `python -m tests.performance.probe.load hold PORT COUNT`.

`serve` accepts and holds, `hold` opens and holds; each prints `ready`. Both end with their input.
"""

from __future__ import annotations

import resource
import selectors
import socket
import sys


def serve(port: int, count: int) -> None:
    """Accept so many connections and hold them."""
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    _say("listening")
    held = [listener.accept()[0] for _ in range(count)]
    _say("ready")
    _wait()
    for one in held:
        one.close()


def hold(port: int, count: int) -> None:
    """Open so many connections and hold them."""
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    _say("ready")
    _wait()
    for one in held:
        one.close()


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def _wait() -> None:
    with selectors.DefaultSelector() as waiting:
        waiting.register(sys.stdin, selectors.EVENT_READ)
        waiting.select()


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    {"serve": serve, "hold": hold}[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))
