import logging
from collections.abc import Mapping
from typing import Protocol

from kazoo.client import KazooClient
from kazoo.protocol.serialization import ReplyHeader
from kazoo.retry import KazooRetry

class _Message(Protocol):
    @property
    def type(self) -> int: ...
    def serialize(self) -> bytes | bytearray: ...

class ConnectionHandler:
    client: KazooClient
    logger: logging.Logger
    def __init__(
        self,
        client: KazooClient,
        retry_sleeper: KazooRetry,
        logger: logging.Logger | None = None,
        sasl_options: Mapping[str, object] | None = None,
    ) -> None: ...
    # Private to kazoo, and replaced where SASL is ours.
    def _submit(self, request: _Message, timeout: float | None, xid: int | None = None) -> None: ...
    def _authenticate_with_sasl(self, host: str, timeout: float) -> None: ...
    # Private to kazoo, and where events of a persistent watch come in.
    def _read_header(self, timeout: float | None) -> tuple[ReplyHeader, bytes, int]: ...
    def _read_watch_event(self, buffer: bytes, offset: int) -> None: ...
