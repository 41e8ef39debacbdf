"""Asks servers what they are, and an ensemble who votes in it; gives a server a vote, or takes it.

A server is asked by itself (`srvr`), without a session. Who votes stands in a znode of the ensemble
and is changed by a call of its own, for which a session must be the super user's; the version that
a change names keeps two who change at the same time apart.
https://zookeeper.apache.org/doc/current/zookeeperReconfig.html
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import (
    ConnectionDropped,
    ConnectionLoss,
    KazooException,
    OperationTimeoutError,
    SessionExpiredError,
)
from kazoo.handlers.threading import KazooTimeoutError

from clients.access import read_identity
from clients.closing import Closing
from clients.zookeeper.ensemble import (
    CONFIGURATION_PATH,
    Ensemble,
    ServerAnswer,
    parse_answer,
    parse_configuration,
)
from clients.zookeeper.errors import RefusedError, UnreachableError

_ANSWER_BYTES_MAX = 65_536
_LOST = (
    KazooTimeoutError,
    ConnectionDropped,
    ConnectionLoss,
    OperationTimeoutError,
    SessionExpiredError,
    OSError,
)
T = TypeVar("T")


class EnsembleClient(Closing):
    """Of one ensemble. The file of the credential holds the super user's `super:password`; `hosts`
    are servers that a session may be had from. Opens a session when one is needed first."""

    def __init__(self, hosts: Sequence[str], credential_file: Path, *, timeout_s: float) -> None:
        self._hosts = tuple(hosts)
        self._credential_file = credential_file
        self._timeout_s = timeout_s
        self._session: KazooClient | None = None

    async def close(self) -> None:
        """End the session, if there is one."""
        if self._session is not None:
            await asyncio.to_thread(_end, self._session)

    async def ask(self, address: str) -> ServerAnswer | None:
        """What a server says of itself; None: it does not answer, or serves in no quorum."""
        host, _, port = address.rpartition(":")
        try:
            async with asyncio.timeout(self._timeout_s):
                reader, writer = await asyncio.open_connection(host, int(port))
                try:
                    writer.write(b"srvr")
                    # It may come in pieces; the server ends it by closing.
                    said = b""
                    while len(said) < _ANSWER_BYTES_MAX and (piece := await reader.read(4096)):
                        said += piece
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return None
        return parse_answer(said.decode(errors="replace"))

    async def ensemble(self) -> Ensemble:
        """Who votes, of what the server of our session knows.

        Raises:
            UnreachableError: no server serves in time.
            RefusedError: the answer is no configuration.
        """
        found, _ = await self._call(
            "tell who votes",
            lambda session: session.get_async(CONFIGURATION_PATH).get(timeout=self._timeout_s),
        )
        return parse_configuration((found or b"").decode())

    async def join(self, server: int, description: str, version: int) -> None:
        """Give a server a vote; it must follow the leader already. The others are told of it by a
        description: `host:quorum:election;host:client`.

        Raises:
            UnreachableError: no server serves in time; the change may have been made.
            RefusedError: the configuration is of another version, another change is under way, or
                our user may not.
        """
        await self._change(f"server.{server}={description}", None, version)

    async def leave(self, server: int, version: int) -> None:
        """Take a server's vote; raises what `join` does."""
        await self._change(None, str(server), version)

    async def _change(self, joining: str | None, leaving: str | None, version: int) -> None:
        await self._call(
            f"change its members ({joining or leaving})",
            lambda session: session.reconfig_async(joining, leaving, None, version).get(
                timeout=self._timeout_s
            ),
        )

    async def _call(self, what: str, call: Callable[[KazooClient], T]) -> T:
        hosts = ",".join(self._hosts)
        try:
            return await asyncio.to_thread(lambda: call(self._started()))
        except _LOST as error:
            msg = (
                f"expected {hosts} to {what} in {self._timeout_s:g} s, saw {error!r}: see that a "
                "majority serves"
            )
            raise UnreachableError(msg) from None
        except KazooException as error:
            msg = (
                f"expected {hosts} to {what}, saw {type(error).__name__} {error}: look again, and "
                "check the super user's secret"
            )
            raise RefusedError(msg) from None

    def _started(self) -> KazooClient:
        if self._session is None:
            identity = ":".join(read_identity(self._credential_file))
            session = KazooClient(
                ",".join(self._hosts), self._timeout_s, auth_data=[("digest", identity)]
            )
            with contextlib.ExitStack() as undo:
                # Its threads run from now on, whether it connects or not.
                undo.callback(_end, session)
                session.start(self._timeout_s)
                undo.pop_all()
            self._session = session
        return self._session


def _end(session: KazooClient) -> None:
    session.stop()
    session.close()
