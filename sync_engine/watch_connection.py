"""kazoo's client and connection, taught what they do not know: addWatch, its events, and SASL.

kazoo has no request for a persistent watch, drops the zxid of an event's header, and takes SASL
from a library of its own; the connection is replaced in these three places and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
import struct
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

from kazoo.client import KazooClient
from kazoo.exceptions import AuthFailedError as KazooAuthFailedError
from kazoo.exceptions import ConnectionDropped
from kazoo.handlers.threading import AsyncResult
from kazoo.protocol.connection import ConnectionHandler
from kazoo.protocol.serialization import ReplyHeader
from kazoo.retry import KazooRetry

from sync_engine import sasl, wire
from sync_engine.errors import AuthFailedError

EVENTS_MAX = 200_000
"""Events that may wait for the event loop; beyond it they count as lost, and `on_gap` says so."""


class EventKind(IntEnum):
    """What happened to a znode; the numbers are those of the protocol."""

    CREATED = 1
    DELETED = 2
    CHANGED = 3


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change. `zxid` is None where the server does not tell it (3.8 and older)."""

    path: str
    kind: EventKind
    zxid: int | None


class Deliver(Protocol):
    """Takes events in the event loop."""

    def __call__(self, events: Sequence[WatchEvent], *, is_whole: bool) -> None:
        """Not whole: some were lost before these."""
        ...


class Inbox:
    """Events from kazoo's thread to the event loop, one wake-up a burst."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deliver: Deliver,
    ) -> None:
        self._loop = loop
        self._deliver = deliver
        self._lock = threading.Lock()
        self._events: deque[WatchEvent] = deque()
        self._overflowed = False
        self._is_awake = False

    def put(self, event: WatchEvent) -> None:
        """Take an event, in kazoo's thread."""
        with self._lock:
            if len(self._events) >= EVENTS_MAX:
                self._events.clear()
                self._overflowed = True
            self._events.append(event)
            if self._is_awake:
                return
            self._is_awake = True
        try:
            self._loop.call_soon_threadsafe(self._drain)
        except RuntimeError:
            # The event loop has ended before us, and nobody listens any more.
            return

    def _drain(self) -> None:
        with self._lock:
            events, self._events = self._events, deque()
            overflowed, self._overflowed = self._overflowed, False
            self._is_awake = False
        self._deliver(events, is_whole=not overflowed)


class AddWatch:
    """The request, in the form in which kazoo's connection sends and reads one."""

    type = int(wire.OpCode.ADD_WATCH)

    def __init__(self, path: str) -> None:
        self.path = path

    def serialize(self) -> bytes:
        """The request's body."""
        return wire.add_watch_body(self.path)

    def deserialize(self, raw: bytes, at: int) -> None:
        """Nothing but the error code in the header counts."""


class _Token:
    """A word of SASL."""

    type = sasl.OPCODE

    def __init__(self, token: bytes) -> None:
        self._token = token

    def serialize(self) -> bytes:
        return wire.buffer(self._token)


class _Connection(ConnectionHandler):
    """kazoo's connection, whose events go to an inbox and not to one-shot watchers."""

    def __init__(self, inbox: Inbox, identity: bytes | None, client: WatchClient) -> None:
        # With options of any kind it authenticates with SASL, which is ours here.
        options = None if identity is None else {"mechanism": "DIGEST-MD5"}
        super().__init__(client, client.retry_policy(), logger=client.logger, sasl_options=options)
        self._inbox = inbox
        self._identity = identity
        self._event_zxid = -1

    def _read_header(self, timeout: float | None) -> tuple[ReplyHeader, bytes, int]:
        header, raw, at = super()._read_header(timeout)
        if header.xid == wire.XID_EVENT:
            self._event_zxid = header.zxid
        return header, raw, at

    def _authenticate_with_sasl(self, host: str, timeout: float) -> None:
        del host  # ZooKeeper fixes the name in the digest.
        client = sasl.DigestMd5(self._identity or b"")
        token: bytes | None = b""
        xid = 0
        while token is not None:
            xid += 1
            self._submit(_Token(token), timeout, xid)
            try:
                header, raw, at = self._read_header(timeout)
                if header.err:
                    raise KazooAuthFailedError
                token = client.answer(sasl.read_token(raw, at, len(raw)))
            except (ConnectionDropped, AuthFailedError, struct.error) as error:
                # A server answers a wrong password by closing the connection.
                msg = "the server does not accept the credentials"
                raise KazooAuthFailedError(msg) from error

    def _read_watch_event(self, buffer: bytes, offset: int) -> None:
        kind, _, path = wire.read_event(buffer, offset)
        if kind in _KINDS:
            zxid = self._event_zxid if self._event_zxid > 0 else None
            self._inbox.put(WatchEvent(path, _KINDS[kind], zxid))


_KINDS = {int(kind): kind for kind in EventKind}


class WatchClient(KazooClient):
    """kazoo's client with that connection; `identity` is `user:password` for SASL."""

    def __init__(self, inbox: Inbox, identity: bytes | None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._connection = _Connection(inbox, identity, self)

    def retry_policy(self) -> KazooRetry:
        """How it connects again."""
        return self._conn_retry.copy()

    def request(self, request: AddWatch, answer: AsyncResult[object]) -> None:
        """Send a request of ours."""
        self._call(request, answer)


def quiet_logger() -> logging.Logger:
    """The logger of the client, which stays quiet."""
    # At DEBUG kazoo writes every request, credentials included.
    logger = logging.getLogger("sync_engine.kazoo")
    logger.setLevel(logging.WARNING)
    return logger
