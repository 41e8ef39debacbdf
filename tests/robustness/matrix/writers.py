"""Clients of real ensembles, on both sides at the same time, that log what they are told.

Writes to one path of one side go one after the other, so that their order is known; those to
different paths, and to the same path on the two sides, do not wait for each other. A write whose
answer was lost is logged as one of which nobody knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace

from sync_engine.direction import Roots, Side
from sync_engine.errors import (
    ConnectionLostError,
    LaneError,
    MultiFailedError,
    NodeExistsError,
    RequestTimeoutError,
    ZkError,
)
from sync_engine.lane import Lane
from sync_engine.wire import ANY_VERSION, Create, Delete, Op, SetData
from sync_engine.znode import PERM_ALL, PERM_READ, WORLD_ALL, Acl, parent
from tests.robustness.history.acknowledged import History, Kind, Write
from tests.sync_engine.servers import AUTH
from tests.waiting import until

_SESSION_S = 8.0
_START_S = 120.0
_REFUSED_PAUSE_S = 0.1
_NAMES = ("", "/0", "/1", "/2", "/1/deep")
_KINDS = (Kind.SET, Kind.SET, Kind.SET, Kind.SET_ACL, Kind.DELETE)
SHARED = "/shared"
"""The folder that clients of both sides write, whoever owns it."""
STEADY = "/steady"
STEADIES = tuple(f"{STEADY}/{number}" for number in range(4))
"""Znodes of side a that are only ever set: never deleted, and never given another ACL."""
PROBE = "/probe"
"""What is set to see whether a write arrives."""


@dataclass(frozen=True, slots=True)
class Load:
    """Who writes: so many clients of each side, besides one of side a that only sets, and the
    longest pause between two writes of one of them.
    """

    a: int = 2
    b: int = 1
    pause_a_s: float = 0.03
    pause_b_s: float = 0.25


ONE_WAY = Load()
BOTH_WAYS = Load(a=2, b=2, pause_b_s=0.03)


@dataclass
class Writers:
    """All clients of a run. `both`: no side owns the subtree."""

    hosts: dict[Side, str]
    roots: Roots
    seed: int
    both: bool = False
    history: History = field(default_factory=History)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311 - repeatable, not secret
        self.ticks = itertools.count(1)
        self._numbers = itertools.count(1)
        self._locks: dict[tuple[Side, str], asyncio.Lock] = {}
        self._there: set[tuple[Side, str]] = set()
        self._lanes: dict[Side, Lane] = {}
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._is_ending = False
        self._under_way = 0
        self._still = asyncio.Event()
        self._still.set()

    @property
    def acknowledged(self) -> int:
        """How many writes were acknowledged."""
        return sum(write.acknowledged for write in self.history.writes)

    @contextlib.asynccontextmanager
    async def running(self, load: Load) -> AsyncGenerator[None]:
        """Let all of them write until the end of the block, and end what is under way then."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._steady())
                for number in range(load.a):
                    folder = SHARED if number == 0 else f"/a{number}"
                    tasks.create_task(self._write_for_ever(Side.A, folder, load.pause_a_s))
                for number in range(load.b):
                    folder = SHARED if number == 0 or not self.both else f"/b{number}"
                    tasks.create_task(self._write_for_ever(Side.B, folder, load.pause_b_s))
                try:
                    yield
                finally:
                    self._is_ending = True
                    self._may_write.set()
        finally:
            await self.close()

    async def connect(self, side: Side) -> None:
        """Open a session on a side, in place of the one before, which may know too high a zxid."""
        await self._drop(side)
        lane = Lane(self.hosts[side], AUTH, session_timeout_s=_SESSION_S)
        await lane.start(bound_s=_START_S)
        self._lanes[side] = lane

    async def begin(self) -> None:
        """Create the root on side a, and the probe."""
        for rel in ("", PROBE):
            await self.insist(Side.A, rel, Kind.CREATE, b"", WORLD_ALL)

    async def close(self) -> None:
        """End the sessions."""
        for side in list(self._lanes):
            await self._drop(side)

    async def _drop(self, side: Side) -> None:
        lane = self._lanes.pop(side, None)
        if lane is not None:
            await lane.close()

    async def pause(self) -> None:
        """Let every client finish what it does, and then stand still until `go_on`."""
        self._may_write.clear()
        await self._still.wait()

    def go_on(self) -> None:
        """Let them write again."""
        self._may_write.set()

    def begin_anew(self, side: Side, writes: list[Write]) -> None:
        """A side lost all but these writes with its ensemble: they are all that counts of it."""
        kept = [write for write in self.history.writes if write.side is not side]
        self.history.writes[:] = sorted([*kept, *writes], key=lambda write: write.order)
        self._there = {entry for entry in self._there if entry[0] is not side}

    # Writes

    async def insist(
        self,
        side: Side,
        rel: str,
        kind: Kind,
        data: bytes | None = None,
        acl: tuple[Acl, ...] = (),
    ) -> None:
        """Write until it is acknowledged, however often the connection breaks."""

        async def done() -> bool:
            try:
                await self._write(side, rel, kind, data, acl)
            except MultiFailedError as error:
                if kind is Kind.CREATE and error.code == NodeExistsError.code:
                    # An answer was lost, and the write was not.
                    return True
                raise
            except (ConnectionLostError, RequestTimeoutError):
                return False
            return True

        await until(done, f"{kind} of {rel or '/'} on side {side}", _START_S)

    async def _steady(self) -> None:
        """One client of side a whose znodes are only ever set."""
        turns = itertools.cycle(STEADIES)
        while await self._next(0.03):
            rel = STEADY if (Side.A, STEADY) not in self._there else next(turns)
            is_there = (Side.A, rel) in self._there
            await self._try(Side.A, rel, Kind.SET if is_there else Kind.CREATE)

    async def _write_for_ever(self, side: Side, folder: str, pause_s: float) -> None:
        while await self._next(pause_s):
            rel = folder + self.chance.choice(_NAMES)
            kind = self.chance.choice(_KINDS)
            if (side, rel) not in self._there:
                kind = Kind.CREATE
            await self._try(side, rel, kind)

    async def _next(self, pause_s: float) -> bool:
        await asyncio.sleep(self.chance.uniform(0, pause_s))
        await self._may_write.wait()
        return not self._is_ending

    async def _try(self, side: Side, rel: str, kind: Kind) -> None:
        number = next(self._numbers)
        own = (*WORLD_ALL, Acl(PERM_READ, "digest", f"u{number}:h"))
        acls = {
            Kind.CREATE: self.chance.choice([WORLD_ALL, own]),
            Kind.SET_ACL: (*own, Acl(PERM_ALL, "digest", "app:h")),
        }
        if rel in (STEADY, *STEADIES):
            acls[Kind.CREATE] = WORLD_ALL
        data = str(number).encode() if kind in (Kind.CREATE, Kind.SET) else None
        self._under_way += 1
        self._still.clear()
        try:
            await self._write(side, rel, kind, data, acls.get(kind, ()))
        except (LaneError, ZkError):
            # Clients go on, whatever becomes of one write; `_write` has noted what it knows.
            await asyncio.sleep(_REFUSED_PAUSE_S)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._still.set()

    async def _write(
        self, side: Side, rel: str, kind: Kind, data: bytes | None, acl: tuple[Acl, ...]
    ) -> None:
        async with self._locks.setdefault((side, rel), asyncio.Lock()):
            draft = Write(0, side, rel, kind, 0, self.both or side is Side.A, data, frozenset(acl))
            draft = replace(draft, began=next(self.ticks), acknowledged=False)
            try:
                zxid = await self._send(side, rel, kind, data, acl)
            except (ConnectionLostError, RequestTimeoutError) as error:
                if not isinstance(error, ConnectionLostError) or error.sent:
                    self._log(draft)
                raise
            except ZkError:
                await self._look(side, rel)
                raise
            self._log(replace(draft, zxid=zxid, acknowledged=True))

    async def _send(
        self, side: Side, rel: str, kind: Kind, data: bytes | None, acl: tuple[Acl, ...]
    ) -> int:
        lane, path = self._lanes[side], self.roots.path(side, rel)
        if kind is Kind.SET_ACL:
            stat = await lane.set_acl(path, acl, ANY_VERSION)
            # An ACL's zxid is nowhere in a Stat, and nothing here needs it.
            return stat.mzxid
        ops: dict[Kind, Op] = {
            Kind.CREATE: Create(path, data, acl),
            Kind.SET: SetData(path, data, ANY_VERSION),
            Kind.DELETE: Delete(path, ANY_VERSION),
        }
        return (await lane.multi([ops[kind]])).zxid

    async def _look(self, side: Side, rel: str) -> None:
        """See whether a znode is there, where somebody else has created or deleted it."""
        for path in {rel, "" if parent(rel) == "/" else parent(rel)}:
            entry = (side, path)
            if await self._lanes[side].exists(self.roots.path(side, path)) is None:
                self._there.discard(entry)
            else:
                self._there.add(entry)

    def _log(self, write: Write) -> None:
        if write.kind is Kind.DELETE:
            self._there.discard((write.side, write.rel))
        elif write.kind is Kind.CREATE:
            self._there.add((write.side, write.rel))
        self.history.writes.append(replace(write, order=next(self.ticks)))
