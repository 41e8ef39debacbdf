"""Proof that both sides are equal, while clients go on writing.

Both sides are read in full, each after a `sync`, and hashed from what was read: nothing is taken
from the base but the originals of fenced ACLs. Paths that differ are read again until they are
equal, or until one of the copies has stood unchanged for longer than the lag bound: then the
difference counts. What counts is also handed to the replicator, to be looked at on both sides.

One path that is written more often than the lag is in flight at every look. It is equal when the
copy that was read is one that the other side was seen to have since the audit began: by an earlier
look, or by the engine, whose row says what it read there and by which change.

A digest adds up the hashes of (path, data, ACL) of all persistent nodes modulo 2^256, so that it
does not depend on the order in which a tree is read, and no tree has to be held.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from sync_engine.comparison import is_reserved
from sync_engine.context import Subtree
from sync_engine.decide import View, view
from sync_engine.direction import Side
from sync_engine.progress import SILENT, Progress
from sync_engine.replicator import Replicator
from sync_engine.report import AuditReport, Difference, SubtreeAudit
from sync_engine.rows import Row, Stamp
from sync_engine.settings import Tuning
from sync_engine.znode import Acl, Znode

DIFFERENCES_SHOWN_MAX = 50
_MODULUS = 1 << 256
_REREAD_PAUSE_S = 0.05
_REREAD_MAX = 2_000
_REST_S = 0.01
_STATES_MAX = 64
"""Of a path on a side: some seconds at the pace of the looks. No copy is further behind."""
_State = tuple[bytes, set[Acl]] | None


@dataclass(slots=True)
class TreeSum:
    """A side's digest under way."""

    znodes: int = 0
    total: int = 0
    hashes: dict[str, bytes] = field(default_factory=dict[str, bytes])

    @property
    def digest(self) -> str:
        """As text."""
        return f"{self.total:064x}"


def node_hash(rel: str, seen: View) -> bytes:
    """Hash of one node, the same on both sides where path, data and original ACL are."""
    entries = sorted({(e.perms, e.scheme, e.id) for e in seen.acl})
    text = repr((rel, seen.data_hash, entries)).encode()
    return hashlib.sha256(text).digest()


class SeenStates:
    """What one path was seen to be on one side since a moment; the newest are kept."""

    def __init__(self) -> None:
        self._states: deque[_State] = deque(maxlen=_STATES_MAX)

    def add(self, seen: View | None) -> None:
        """Note a copy that was read; None: it was not there."""
        self._note(_state(seen))

    def add_row(self, row: Row | None, side: Side, after: int) -> None:
        """Note what the engine read, if a change after a zxid made it."""
        stamp = None if row is None else row.stamp(side)
        if row is not None and stamp is not None and stamp.mzxid > after:
            self._note((row.data_hash, set(row.acl)))

    def has(self, seen: View | None) -> bool:
        """Whether a copy is one of them."""
        return _state(seen) in self._states

    def _note(self, state: _State) -> None:
        if not self._states or self._states[-1] != state:
            self._states.append(state)


class Standing:
    """Since when copies are what they are."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, Side], tuple[Stamp | None, float]] = {}

    def stood_s(self, where: tuple[str, Side], copy: View | None, now: float) -> float:
        """For how long a copy was seen unchanged."""
        stamp = None if copy is None else copy.stamp
        before = self._since.get(where)
        if before is None or before[0] != stamp:
            self._since[where] = (stamp, now)
            return 0.0
        return now - before[1]


def _state(seen: View | None) -> _State:
    return None if seen is None or seen.ephemeral else (seen.data_hash, set(seen.acl))


async def sum_side(
    subtree: Subtree, side: Side, *, rest_s: float = 0.0, progress: Progress = SILENT
) -> TreeSum:
    """Read one side of a subtree in full, with a rest after each hundred znodes or so."""
    found = TreeSum()
    await subtree.catch_up(side)
    async for nodes in subtree.scan(side):
        subtree.counters.compared += len(nodes)
        progress.advance(len(nodes))
        if rest_s:
            await asyncio.sleep(rest_s)
        for node in nodes:
            rel = subtree.roots.rel(side, node.path)
            if rel is None or node.stat.ephemeral_owner or is_reserved(node.path, subtree):
                continue
            row = subtree.base.get(rel)
            if row is not None and row.is_gone(side.other):
                # It stays for what is not the engine's, and is itself none of it.
                continue
            seen = view(node, row)
            if seen is None:
                continue
            hashed = node_hash(rel, seen)
            found.znodes += 1
            found.total = (found.total + int.from_bytes(hashed)) % _MODULUS
            found.hashes[rel] = hashed[:16]
    return found


def differing(a: TreeSum, b: TreeSum) -> list[str]:
    """Paths that are not the same on both sides."""
    return sorted(
        rel for rel in a.hashes.keys() | b.hashes.keys() if a.hashes.get(rel) != b.hashes.get(rel)
    )


def difference(a: View | None, b: View | None) -> str | None:
    """How two copies differ; None if they do not. Ephemerals do not count."""
    a = None if a is not None and a.ephemeral else a
    b = None if b is not None and b.ephemeral else b
    if a is None or b is None:
        if a is b:
            return None
        return "only_a" if b is None else "only_b"
    data, acl = a.data_hash != b.data_hash, set(a.acl) != set(b.acl)
    if data and acl:
        return "data_and_acl"
    return "data" if data else "acl" if acl else None


class Auditor:
    """One audit of all subtrees. One that nobody waits for rests while it reads."""

    def __init__(
        self, replicators: Mapping[str, Replicator], tuning: Tuning, *, rests: bool = False
    ) -> None:
        self._replicators = replicators
        self._tuning = tuning
        self._rest_s = _REST_S if rests else 0.0
        self.in_flight: list[str] = []
        """Full paths that were not equal at the last look, and changed."""

    async def run(self) -> AuditReport:
        """Compare all subtrees, one after the other."""
        began, at = time.monotonic(), time.time()
        found = {name: await self._audit(r) for name, r in self._replicators.items()}
        return AuditReport(
            equal=all(audit.equal for audit in found.values()),
            at=at,
            seconds=time.monotonic() - began,
            subtrees=found,
        )

    async def _audit(self, replicator: Replicator) -> SubtreeAudit:
        subtree = replicator.subtree
        a, b = await asyncio.gather(
            *(sum_side(subtree, side, rest_s=self._rest_s) for side in Side)
        )
        paths, stayed = differing(a, b), dict[str, str]()
        for start in range(0, len(paths), _REREAD_MAX):
            rels = paths[start : start + _REREAD_MAX]
            if stayed:
                # They differ in earnest, and each look takes the lag bound.
                stayed.update(dict.fromkeys(rels, "not read again: too many"))
                continue
            for rel in rels:
                # A change that no watch told, as that of an ACL, is found here as well.
                replicator.notify(rel)
            stayed = await self._reread(subtree, rels)
        for rel in stayed:
            replicator.notify(rel, forced=True)
        differences = [
            Difference(path=subtree.source_path(rel), kind=kind)
            for rel, kind in list(stayed.items())[:DIFFERENCES_SHOWN_MAX]
        ]
        return SubtreeAudit(
            znodes=a.znodes,
            digest_a=a.digest,
            digest_b=b.digest,
            equal=not stayed,
            differences=differences,
            reread=len(paths),
        )

    async def _reread(self, subtree: Subtree, paths: list[str]) -> dict[str, str]:
        """Read paths again until each is equal or its difference is old enough to count."""
        stayed: dict[str, str] = {}
        standing = Standing()
        # Where both sides are copied, either may be behind the other.
        leading = tuple(Side) if subtree.policy.both else (subtree.owner,)
        began = {side: subtree.links[side].reader.last_zxid for side in leading}
        known = {(rel, side): SeenStates() for rel in paths for side in leading}
        left = paths
        while left:
            before = {rel: subtree.base.get(rel) for rel in left}
            pairs = await self._read_pairs(subtree, left)
            now, again = time.monotonic(), list[str]()
            for rel, (a, b) in zip(left, pairs, strict=True):
                kind = difference(a, b)
                if kind is None:
                    continue
                copies, is_behind = {Side.A: a, Side.B: b}, False
                for side in leading:
                    states = known[rel, side]
                    # What was read may be what the engine wrote before, or while it was read.
                    for row in (before[rel], subtree.base.get(rel)):
                        states.add_row(row, side, began[side])
                    is_behind = is_behind or states.has(copies[side.other])
                    states.add(copies[side])
                if is_behind:
                    continue
                # If it is the owner's, it was not copied; if it is the other, nothing was, however
                # often the owner's was written.
                stood_s = [standing.stood_s((rel, side), copies[side], now) for side in Side]
                if max(stood_s) > self._tuning.lag_bound_s:
                    stayed[rel] = kind
                else:
                    again.append(rel)
            left = again
            self.in_flight = [subtree.source_path(rel) for rel in left]
            if left:
                await asyncio.sleep(_REREAD_PAUSE_S)
        return stayed

    async def _read_pairs(
        self, subtree: Subtree, rels: list[str]
    ) -> list[tuple[View | None, View | None]]:
        async def read(side: Side) -> list[Znode | None]:
            lane = subtree.links[side].reader
            paths = [subtree.roots.path(side, rel) for rel in rels]
            _, nodes = await asyncio.gather(lane.sync(paths[0]), lane.read_many(paths))
            return nodes

        a, b = await asyncio.gather(read(Side.A), read(Side.B))
        rows = [subtree.base.get(rel) for rel in rels]
        return [(view(one, row), view(two, row)) for one, two, row in zip(a, b, rows, strict=True)]
