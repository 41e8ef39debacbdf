"""Providers end with their engine.

Pulumi's host of dynamic providers waits for ever. When its engine is killed it stays behind, and
what it was doing goes on: a creation that it gives up a minute later would take away what the next
update has made meanwhile. So a provider watches the address of its engine and ends when nobody is
there.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

_PAUSE_S = 0.5
_TIMEOUT_S = 2.0
# One refusal may be an overload; the engine listens as long as it lives.
_REFUSALS_MAX = 3


def end_with_engine() -> None:
    """Begin to watch; does nothing in a process that hosts no providers."""
    address = _engine_address()
    if address is not None:
        threading.Thread(target=_watch, args=address, daemon=True, name="engine-watch").start()


def _engine_address() -> tuple[str, int] | None:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if getattr(spec, "name", None) != "pulumi.dynamic.__main__" or not sys.argv[1:]:
        return None
    host, _, port = sys.argv[1].rpartition(":")
    return (host, int(port)) if port.isdigit() else None


def _watch(host: str, port: int) -> None:
    refusals = 0
    while refusals < _REFUSALS_MAX:
        time.sleep(_PAUSE_S)
        try:
            socket.create_connection((host, port), _TIMEOUT_S).close()
            refusals = 0
        except OSError:
            refusals += 1
    # Not an orderly end: threads may be in the middle of waiting, and nobody hears what they say.
    os._exit(1)
