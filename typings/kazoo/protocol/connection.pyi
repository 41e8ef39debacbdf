import logging
from collections.abc import Mapping

from kazoo.client import KazooClient
from kazoo.protocol.serialization import ReplyHeader
from kazoo.retry import KazooRetry

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
    # Private to kazoo, and where events of a persistent watch come in.
    def _read_header(self, timeout: float | None) -> tuple[ReplyHeader, bytes, int]: ...
    def _read_watch_event(self, buffer: bytes, offset: int) -> None: ...
