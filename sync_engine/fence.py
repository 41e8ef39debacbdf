"""Who may write: the epoch, and the one way to send a transaction.

The epoch stands on both sides. An engine takes over by raising it on both, each by version, so of
two engines that start at once the last to write both goes on. Every transaction's operation 0
checks the epoch's version on its side, and only its failure means "fenced". Raising the epoch while
our own transactions are under way makes those fail too; they are told apart here and sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from sync_engine import documents
from sync_engine.direction import Side
from sync_engine.documents import Epoch
from sync_engine.errors import (
    BadVersionError,
    FencedError,
    MultiFailedError,
    NoNodeError,
    UnprovenError,
)
from sync_engine.lane import Lane
from sync_engine.link import Link
from sync_engine.wire import Check, MultiResult, Op

_log = structlog.get_logger()
# Every start of another engine at the same moment costs one; more is a fight that nobody wins.
_TAKE_ATTEMPTS_MAX = 10
# A flip raises the epoch a few times at most while one transaction is under way.
_SEND_ATTEMPTS_MAX = 5


class Fence:
    """This engine's hold on the epoch of both sides."""

    def __init__(self, links: Mapping[Side, Link], holder: str) -> None:
        self._links = links
        self.holder = holder
        self._versions: dict[Side, int] = {}
        self._lock = asyncio.Lock()
        self.zxids: dict[Side, int] = {}
        """zxid of this engine's last raise of the epoch on each side."""
        self.epoch = 0
        self.lost: str | None = None
        self.was_lost = asyncio.Event()

    async def take(self) -> int:
        """Raise the epoch on both sides, above whatever stands there; returns it.

        Raises:
            FencedError: others keep raising it at the same time.
            UnprovenError: a connection was lost since that side was looked at.
        """
        async with self._lock:
            for _ in range(_TAKE_ATTEMPTS_MAX):
                found = {side: await self._read(side) for side in Side}
                epoch = max(doc.epoch for doc, _ in found.values()) + 1
                try:
                    for side, (_, version) in found.items():
                        await self._write(side, epoch, version)
                except BadVersionError:
                    continue
                self.epoch = epoch
                return epoch
        self._lose(
            f"expected to raise the epoch within {_TAKE_ATTEMPTS_MAX} attempts, saw another engine "
            "raise it each time: stop one of them"
        )
        raise FencedError(self.lost)

    async def raise_epoch(self) -> int:
        """Raise the epoch that we hold, on both sides; returns it.

        Raises:
            FencedError: another engine holds it by now.
            UnprovenError: a side went back, or its connection was lost.
        """
        async with self._lock:
            found = {side: await self._read(side) for side in Side}
            for side, (doc, _) in found.items():
                self._check_not_back(side, doc)
                if doc.holder != self.holder:
                    self._lose(self._taken_by(side, doc))
                    raise FencedError(self.lost)
            epoch = max(doc.epoch for doc, _ in found.values()) + 1
            for side, (_, version) in found.items():
                await self._write(side, epoch, version)
            self.epoch = epoch
            return epoch

    async def transact(
        self, side: Side, ops: Sequence[Op], *, lane: Lane | None = None
    ) -> MultiResult:
        """Send a transaction that only the holder of the epoch may apply; over the side's writer
        unless another session of that side is to own its ephemerals.

        Raises:
            FencedError: another engine holds the epoch; nothing was applied.
            MultiFailedError: an operation failed; `index` counts from the first of `ops`.
            UnprovenError: the side went back.
            ConnectionLostError: the outcome may be unknown.
        """
        for _ in range(_SEND_ATTEMPTS_MAX):
            self.check_held()
            version = self._versions[side]
            try:
                result = await (lane or self._links[side].writer).multi(
                    [Check(documents.EPOCH, version), *ops]
                )
            except MultiFailedError as error:
                if error.index > 0:
                    raise MultiFailedError(error.index - 1, error.code, error.codes[1:]) from None
                await self._explain(side, version)
                continue
            return MultiResult(result.zxid, result.stats[1:])
        msg = f"expected the epoch of side {side.value} to stand still, saw it rise each time"
        raise FencedError(msg)

    async def barrier(self, side: Side) -> int:
        """The zxid of a transaction that changes nothing: all that was acknowledged on that side
        before has a lower one, and a server that has reached it shows all of that.

        Raises:
            FencedError: another engine holds the epoch.
        """
        return (await self.transact(side, [])).zxid

    def check_held(self) -> None:
        """Raise unless this engine may still write, as far as it knows."""
        if self.lost is not None:
            raise FencedError(self.lost)

    async def _explain(self, side: Side, used: int) -> None:
        # Waiting for the lock waits for our own raise, if that is what came between.
        async with self._lock:
            if self._versions[side] != used:
                return
            doc, version = await self._read_again(side)
            if doc.holder == self.holder:
                # A raise whose answer was lost with its connection.
                self._versions[side] = version
                return
            self._lose(self._taken_by(side, doc))
        raise FencedError(self.lost)

    async def _read_again(self, side: Side) -> tuple[Epoch, int]:
        """Read the epoch of a side that refused one of ours.

        Raises:
            UnprovenError: it is below ours, so the side is not what it was: the first write after
                a lost connection may be there before anybody has looked.
        """
        try:
            doc, version = await self._read(side)
        except NoNodeError:
            doc, version = Epoch(epoch=0, holder=""), 0
        self._check_not_back(side, doc)
        return doc, version

    def _check_not_back(self, side: Side, doc: Epoch) -> None:
        if doc.epoch < self.epoch:
            self._links[side].doubt()
            msg = (
                f"expected epoch {self.epoch} on side {side.value}, saw {doc.epoch}: it holds less "
                "than it did, and is looked at"
            )
            raise UnprovenError(msg)

    def _taken_by(self, side: Side, doc: Epoch) -> str:
        return (
            f"expected epoch {self.epoch} of {self.holder} on side {side.value}, saw "
            f"{doc.epoch} of {doc.holder or 'nobody'}: that engine has taken over, "
            "this one must not write"
        )

    def _lose(self, why: str) -> None:
        self.lost = why
        self.was_lost.set()
        _log.error("fence.lost", reason=why)

    async def _read(self, side: Side) -> tuple[Epoch, int]:
        lane = self._links[side].writer
        await lane.sync(documents.EPOCH)
        data, stat = await lane.get(documents.EPOCH)
        return documents.decode(Epoch, data, documents.EPOCH), stat.version

    async def _write(self, side: Side, epoch: int, version: int) -> None:
        # The reads may have waited for another connection, to a side that was restored meanwhile;
        # this would be its newest write of ours, and so say that it only went forward.
        self._links[side].check_proven()
        data = Epoch(epoch=epoch, holder=self.holder).encode()
        stat = await self._links[side].writer.set_data(documents.EPOCH, data, version)
        self.zxids[side] = stat.mzxid
        self._versions[side] = stat.version
