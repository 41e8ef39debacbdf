"""A partition between the engine and one side, with many changes meanwhile; then it heals.

The way is cut by a proxy (`proxy.py`), so servers, clients and observers go on undisturbed and the
engine's sessions expire as they would.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence

from sync_engine.client import Side
from sync_engine.wire import ANY_VERSION, Create, Delete, Op, SetData
from sync_engine.znode import WORLD_ALL, Znode
from tests.performance import leaves
from tests.performance.engine import Rule, running
from tests.performance.proxy import between
from tests.performance.stage import EQUAL_BOUND_S, Stage, UnequalError
from tests.performance.table import Figure
from tests.performance.watcher import Watcher

_RESYNCED_MAX_S = 3.0
# Every tenth change is a delete, every tenth a create.
_KINDS = 10
_STEPS = 10
# An observer that reads every change would take the processor from the engine.
_WATCHED_SHARE = 0.1


async def partition(stage: Stage) -> AsyncGenerator[Figure]:
    """Cut off the owner's side, then the other."""
    sizes = stage.sizes
    for side, name in ((Side.A, "the owner's"), (Side.B, "the other")):
        async with (
            stage.tree(Side.A, sizes.watched) as rule,
            between(stage.hosts(side)) as (way, hosts),
            running(
                stage.engine(
                    rule,
                    hosts={side: hosts, side.other: stage.hosts(side.other)},
                )
            ) as engine,
        ):
            before = await stage.contents(Side.B, rule.root)
            way.cut()
            await _change(stage, rule)
            state = (await engine.client.status()).state
            expected = await stage.contents(Side.A, rule.root)
            arrival = Arrival(stage, rule, expected, before)
            await arrival.start()
            try:
                healed_at = time.monotonic()
                way.heal()
                resynced_s = await arrival.wait() - healed_at
            finally:
                await arrival.stop()
            after = await _until_same(stage, rule, expected)
        what = f"{sizes.partition_s:g} s without {name} side, {sizes.changes:,} changes"
        yield Figure(
            f"{what}: resynced after",
            "s",
            resynced_s,
            target=_RESYNCED_MAX_S,
            note=f"the engine called itself {state.value} meanwhile",
        )
        wrong = wrong_deletes(before, after, expected)
        yield Figure(f"{what}: wrong deletes", "", float(wrong), target=0)


def changes(root: str, count: int, many: int) -> list[Op]:
    """Sets, and a tenth each of deletes and creates, all over the tree."""
    ops: list[Op] = []
    for number in range(1, many + 1):
        leaf = leaves.leaf_of(number, count)
        path = leaves.leaf_path(root, leaf)
        match number % _KINDS:
            case 0:
                ops.append(Delete(path, ANY_VERSION))
            case 1:
                new = f"{leaves.folder_path(root, leaf // leaves.FOLDER_LEAVES)}/new{number}"
                ops.append(Create(new, leaves.encode(number), WORLD_ALL))
            case _:
                ops.append(SetData(path, leaves.encode(number), ANY_VERSION))
    return ops


def wrong_deletes(
    before: Mapping[str, Znode], after: Mapping[str, Znode], expected: Mapping[str, Znode]
) -> int:
    """Copies that should have stayed and are gone or are not the same znode any more."""
    return sum(
        path not in after or after[path].stat.czxid != znode.stat.czxid
        for path, znode in before.items()
        if path in expected
    )


async def _change(stage: Stage, rule: Rule) -> None:
    """Make the changes, spread over the time of the partition."""
    sizes = stage.sizes
    began_at = time.monotonic()
    ops = changes(rule.root, sizes.watched, sizes.changes)
    size = -(-len(ops) // _STEPS)
    for step in range(_STEPS):
        await stage.apply(rule.owner, ops[step * size : (step + 1) * size])
        due_at = began_at + (step + 1) * sizes.partition_s / _STEPS
        await asyncio.sleep(max(0.0, due_at - time.monotonic()))


class Arrival:
    """Waits until the copy's watched folders hold what is expected."""

    def __init__(
        self, stage: Stage, rule: Rule, expected: Mapping[str, Znode], before: Mapping[str, Znode]
    ) -> None:
        folders = [
            leaves.folder_path(rule.root, folder)
            for folder in leaves.sample(stage.sizes.watched, _WATCHED_SHARE)
        ]
        self._wanted = {
            path: expected[path].data if path in expected else None
            for path in expected.keys() | before.keys()
            if path.rpartition("/")[0] in folders
        }
        self._missing = {
            path
            for path, data in self._wanted.items()
            if (before[path].data if path in before else None) != data
        }
        self._arrived: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._watcher = Watcher(
            stage.hosts(rule.owner.other), folders, self._on_sight, rescanned=list(self._wanted)
        )

    async def start(self) -> None:
        """Watch."""
        await self._watcher.start()

    async def wait(self) -> float:
        """When the last of them was there.

        Raises:
            TimeoutError: not in time.
        """
        return await asyncio.wait_for(self._arrived, EQUAL_BOUND_S)

    async def stop(self) -> None:
        """End the session."""
        await self._watcher.stop()

    def _on_sight(self, path: str, data: bytes | None, at: float) -> None:
        if path not in self._wanted:
            return
        if self._wanted[path] == data:
            self._missing.discard(path)
        else:
            self._missing.add(path)
        if not self._missing and not self._arrived.done():
            self._arrived.set_result(at)


async def _until_same(
    stage: Stage, rule: Rule, expected: Mapping[str, Znode]
) -> Mapping[str, Znode]:
    """The whole copy, once it is what is expected."""
    deadline = time.monotonic() + EQUAL_BOUND_S
    while True:
        found = await stage.contents(rule.owner.other, rule.root)
        differing = _differing(found, expected)
        if not differing:
            return found
        if time.monotonic() > deadline:
            raise UnequalError(len(differing))


def _differing(one: Mapping[str, Znode], other: Mapping[str, Znode]) -> Sequence[str]:
    return [
        path
        for path in one.keys() | other.keys()
        if path not in one or path not in other or one[path].data != other[path].data
    ]
