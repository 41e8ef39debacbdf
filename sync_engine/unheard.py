"""What transactions have overwritten unseen whose answer nobody heard.

The Stats of an answer tell whether a write hid a znode that was created again at an equal version
(`identity`). Where the answer was lost, or the engine that waited for it ended, the slot tells that
the transaction was applied, and the znode itself, until it is written again or deleted, still tells
that it is another one than was meant.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sync_engine.checkpoint import Intent, Kind, Record
from sync_engine.conflicts import ConflictJournal
from sync_engine.direction import Roots, Side
from sync_engine.errors import NoAuthError, NoNodeError
from sync_engine.lane import Lane
from sync_engine.link import Link
from sync_engine.znode import Stat, Znode

_REASON = "created-again-by-other"
_WHY = "its own version was not seen"
_WHY_GONE = f"{_WHY}, and what replaced it cannot be told any more"


@dataclass(frozen=True, slots=True)
class Overwritten:
    """Writes down what one subtree's transactions have overwritten unseen."""

    conflicts: ConflictJournal
    subtree: str
    roots: Roots

    def report(
        self, winner: Znode | None, loser: Znode | None, side: Side, *, why: str = _WHY
    ) -> None:
        """Write down that `side` lost a znode whose bytes nobody had read.

        Raises:
            StateError: it cannot be written.
        """
        self.conflicts.record(
            subtree=self.subtree,
            reason=_REASON,
            winner=winner,
            # Of one that was deleted nothing else is left to name its path by.
            loser=loser if winner is None else None,
            loser_side=side,
            why=why,
        )

    async def look(self, record: Record, zxid: int, link: Link) -> set[str]:
        """Write down what an applied record has overwritten; returns the relative paths, where
        another znode stands than the base's rows say.

        Raises:
            ConnectionLostError: the side is away; nothing is known, and nothing is written down.
            StateError: it cannot be written.
        """
        owner, lane = record.source_side, link.writer
        updates = [i for i in record.intents if i.kind is Kind.UPDATE]
        paths = [self.roots.path(owner.other, intent.rel) for intent in updates]
        stats = await asyncio.gather(*(_stat(lane, path) for path in paths))
        hit = {
            path: (intent, stat)
            for path, intent, stat in zip(paths, updates, stats, strict=True)
            if stat is not None and _is_another(intent, stat, zxid)
        }
        found = await asyncio.gather(*(_written(lane, path, zxid) for path in hit))
        for (intent, stat), (is_there, data) in zip(hit.values(), found, strict=True):
            why = _WHY if is_there else _WHY_GONE
            if intent.source is not None:
                stat = stat._replace(**intent.source._asdict())  # noqa: PLW2901 - the winner's
            winner = Znode(self.roots.path(owner, intent.rel), data, intent.acl, stat)
            self.report(winner, None, owner.other, why=why)
        return {intent.rel for intent, _ in hit.values()}


async def _stat(lane: Lane, path: str) -> Stat | None:
    """Servers since 3.9.3 tell it only to who may read the znode: then nobody knows which it is."""
    try:
        return await lane.exists(path)
    except NoAuthError:
        return None


async def _written(lane: Lane, path: str, zxid: int) -> tuple[bool, bytes | None]:
    """What a transaction wrote to a path; False where that cannot be told any more: what a later
    write of somebody left is not what ours wrote, and what may not be read is nobody's answer."""
    try:
        data, stat = await lane.get(path)
    except (NoNodeError, NoAuthError):
        return False, None
    return (True, data) if stat.mzxid == zxid else (False, None)


def _is_another(intent: Intent, stat: Stat, zxid: int) -> bool:
    # One that was created after the transaction is nobody's loss by it.
    before = intent.target
    return before is not None and stat.czxid != before.czxid and stat.czxid < zxid
