"""What all rows share: two real ensembles, a super user's lane to each, trees, and engines.

Everything runs on this machine: three and three servers, the engine, loads and observers as
processes of their own. A row leaves no tree behind, so that it costs the next one nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import operator
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from pathlib import Path

from sync_engine.client import Side
from sync_engine.errors import ConnectionLostError
from sync_engine.lane import Lane
from sync_engine.wire import ANY_VERSION, Create, Delete, Op
from sync_engine.znode import WORLD_ALL, Znode
from tests.performance import leaves
from tests.performance.engine import EngineProcess, Rule
from tests.performance.sizes import Sizes
from tests.performance.usage import processor_s
from tests.sync_engine.servers import AUTH, Ensemble, start_all

SERVERS = 3
# A server keeps its last 500 transactions in memory, and the engine's may have half a megabyte.
HEAP_MB = 768
_OPS_MAX = 200
_SESSION_S = 10.0
_POLL_S = 0.05
EQUAL_BOUND_S = 120.0
"""Time for the other side to become equal once nobody writes; what takes longer is not measured."""


class UnequalError(Exception):
    """The sides did not become equal in time; `count` paths differ."""

    def __init__(self, count: int) -> None:
        super().__init__(
            f"expected equal sides within {EQUAL_BOUND_S:g} s, saw {count} paths differ: see the "
            "engine's log"
        )
        self.count = count


class Stage:
    """Made once for a run."""

    def __init__(
        self,
        folder: Path,
        ensembles: Mapping[Side, Ensemble],
        lanes: Mapping[Side, Lane],
        sizes: Sizes,
    ) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self.ensembles = ensembles
        self.lanes = lanes
        self.sizes = sizes

    def hosts(self, side: Side) -> str:
        """Addresses of a side's servers."""
        return self.ensembles[side].hosts

    @contextlib.asynccontextmanager
    async def tree(self, owner: Side, count: int) -> AsyncGenerator[Rule]:
        """A tree of its own on the owner's side, to be copied; removed from both sides at the end.

        The root and its folders are there too: `count` leaves are a hundredth more znodes.
        """
        rule = Rule(f"bench-{next(self._numbers)}", owner)
        try:
            await self.plant(owner, rule.root, count)
            yield rule
        finally:
            for side in Side:
                await self.clear(side, rule.root)

    async def plant(self, side: Side, root: str, count: int) -> None:
        """Create a tree."""
        paths = [leaves.folder_path(root, folder) for folder in range(leaves.folders(count))]
        ops: list[Op] = [Create(path, b"", WORLD_ALL) for path in [root, *paths]]
        data = leaves.encode(leaves.SEEDED)
        ops += [Create(leaves.leaf_path(root, leaf), data, WORLD_ALL) for leaf in range(count)]
        await self.apply(side, ops)

    async def apply(self, side: Side, ops: Sequence[Op]) -> None:
        """Make many operations, in order."""
        for start in range(0, len(ops), _OPS_MAX):
            await self.lanes[side].multi(ops[start : start + _OPS_MAX])

    async def clear(self, side: Side, root: str) -> None:
        """Remove a tree, if it is there."""
        paths = list(await self.contents(side, root))
        await self.apply(side, [Delete(path, ANY_VERSION) for path in reversed(paths)])

    async def contents(self, side: Side, root: str) -> dict[str, Znode]:
        """A tree as it is now, parents before children."""
        lane = self.lanes[side]
        await lane.sync(root)
        found: dict[str, Znode] = {}
        async for znodes in lane.scan(root):
            found |= {znode.path: znode for znode in znodes}
        return found

    def servers_cpu_s(self) -> float:
        """Processor time that the servers of both sides have used so far."""
        processes = (s.process for side in self.ensembles.values() for s in side.servers)
        return sum(processor_s(process.pid) for process in processes if process is not None)

    def engine(self, *rules: Rule, hosts: Mapping[Side, str] | None = None) -> EngineProcess:
        """An engine without state, not started. `hosts`: addresses to use in place of the own."""
        return EngineProcess(
            self._folder / f"engine-{next(self._numbers)}",
            hosts or {side: self.hosts(side) for side in Side},
            self.ensembles[Side.A].auth_file,
            rules,
        )

    async def until_equal(self, root: str, chosen: Iterable[int]) -> None:
        """Wait until some leaves hold the same on both sides.

        Raises:
            UnequalError: they did not in time.
            ConnectionLostError: at the end of it, a server did not answer.
        """
        paths = [leaves.leaf_path(root, leaf) for leaf in chosen]
        deadline = time.monotonic() + EQUAL_BOUND_S
        while True:
            try:
                a, b = await asyncio.gather(*(self._read(side, paths) for side in Side))
            except ConnectionLostError:
                # Servers under this much load may be silent for longer than a session lives.
                if time.monotonic() > deadline:
                    raise
            else:
                if a == b:
                    return
                if time.monotonic() > deadline:
                    raise UnequalError(sum(map(operator.ne, a, b)))
            await asyncio.sleep(_POLL_S)

    async def _read(self, side: Side, paths: Sequence[str]) -> list[bytes | None]:
        lane = self.lanes[side]
        await lane.sync(paths[0])
        return [None if found is None else found.data for found in await lane.read_many(paths)]


@contextlib.asynccontextmanager
async def staged(folder: Path, sizes: Sizes) -> AsyncGenerator[Stage]:
    """Start both ensembles; everything is stopped at the end."""
    ensembles = {
        side: Ensemble(folder / f"side-{side.value}", SERVERS, heap_mb=HEAP_MB) for side in Side
    }
    servers = [server for ensemble in ensembles.values() for server in ensemble.servers]
    async with contextlib.AsyncExitStack() as stack:
        # Waiting for servers blocks, and nothing else runs yet.
        stack.enter_context(start_all(*servers))
        lanes: dict[Side, Lane] = {}
        for side, ensemble in ensembles.items():
            lanes[side] = Lane(ensemble.hosts, AUTH, session_timeout_s=_SESSION_S)
            await lanes[side].start()
            stack.push_async_callback(lanes[side].close)
        yield Stage(folder, ensembles, lanes, sizes)
