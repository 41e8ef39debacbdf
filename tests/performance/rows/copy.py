"""The initial copy, and a second run with nothing to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import asdict, dataclass

from sync_engine.client import Side
from sync_engine.wire import ANY_VERSION
from sync_engine.znode import Znode
from tests.performance import leaves, zk_shell
from tests.performance.anchors import AnchorJob
from tests.performance.child import started
from tests.performance.engine import held
from tests.performance.stage import EQUAL_BOUND_S, Stage, UnequalError
from tests.performance.table import Figure, Sense

PLAIN = "plain kazoo copy"
MIRROR = "zk-shell's mirror"
# By the place of the tree among the sizes' trees.
_TARGETS_S = (2.0, 15.0)
_TARGETS_MB = (150.0, 400.0)
_TARGETS_TIMES: Mapping[str, float] = {PLAIN: 8, MIRROR: 20}
_AUDIT_BOUND_S = 300.0
# One of two seconds says little alone.
_RUNS_OF_THE_SMALL = 3
_ANCHOR_BOUND_S = 900.0
_RERUN_MAX_S = 1.0
_POLL_S = 0.005


@dataclass(frozen=True)
class _Copy:
    """One run of the engine: copied, and proved to be equal."""

    total_s: float
    copied_s: float
    engine_s: float
    servers_s: float
    memory_mb: float
    znodes: int


async def first(stage: Stage) -> AsyncGenerator[Figure]:
    """Copy a tree and prove that the copy is equal; the anchors copy one of the same kind.

    They go first: servers that have just been started are slower than any that somebody uses, and
    whoever comes first pays for it.
    """
    per_znode_s = {PLAIN: await _plain(stage), MIRROR: await _mirror(stage)}
    for index, count in enumerate(stage.sizes.copies):
        runs = [await _copy(stage, count) for _ in range(1 if index else _RUNS_OF_THE_SMALL)]
        run = sorted(runs, key=lambda run: run.total_s)[len(runs) // 2]
        what = f"{count:,} znodes of {leaves.BYTES} B"
        several = f"median of {', '.join(f'{r.total_s:.2f}' for r in runs)} s; "
        yield Figure(
            f"initial copy + audit, {what}",
            "s",
            run.total_s,
            target=_TARGETS_S[index],
            anchor=per_znode_s[PLAIN] * run.znodes,
            anchor_name=PLAIN,
            note=(
                f"{several if len(runs) > 1 else ''}{run.znodes:,} znodes; live {run.copied_s:.2f} "
                f"s after the process was started; processor time of the engine {run.engine_s:.1f} "
                f"s, of the servers {run.servers_s:.1f} s"
            ),
        )
        yield Figure(
            f"RSS of the engine, {what}",
            "MB",
            max(r.memory_mb for r in runs),
            target=_TARGETS_MB[index],
        )
        extrapolated = count != stage.sizes.anchor_copy
        for name, each_s in per_znode_s.items():
            source = f" (extrapolated from {stage.sizes.anchor_copy:,})" if extrapolated else ""
            yield Figure(
                f"initial copy, {count:,} znodes: times as fast as {name}",
                "x",
                each_s * run.znodes / run.total_s,
                target=_TARGETS_TIMES[name],
                sense=Sense.AT_LEAST,
                note=f"{name}: {each_s * run.znodes:.1f} s{source}, without an audit",
            )


async def _copy(stage: Stage, count: int) -> _Copy:
    async with stage.tree(Side.A, count) as rule, held(stage.engine(rule)) as engine:
        servers_s = stage.servers_cpu_s()
        began_at = engine.start()
        await engine.await_live()
        copied_s = time.monotonic() - began_at
        audit = await engine.client.audit(timeout_s=_AUDIT_BOUND_S)
        total_s = time.monotonic() - began_at
        found = _Copy(
            total_s=total_s,
            copied_s=copied_s,
            engine_s=engine.cpu_s(),
            servers_s=stage.servers_cpu_s() - servers_s,
            memory_mb=engine.memory_peak_mb(),
            znodes=audit.subtrees[rule.name].znodes,
        )
    if not audit.equal:
        raise UnequalError(audit.subtrees[rule.name].reread)
    return found


async def _plain(stage: Stage) -> float:
    """Seconds a znode."""
    async with stage.tree(Side.A, stage.sizes.anchor_copy) as rule:
        job = AnchorJob(stage.hosts(Side.A), stage.hosts(Side.B), rule.root, rule.root)
        async with started("anchors", asdict(job), "copy") as copier:
            await copier.go()
            await copier.done(_ANCHOR_BOUND_S)
            result = await copier.stop()
    return float(result["seconds"]) / int(result["znodes"])


async def _mirror(stage: Stage) -> float:
    """Seconds a znode, as somebody has it who calls the program."""
    await asyncio.to_thread(zk_shell.program)
    async with stage.tree(Side.A, stage.sizes.anchor_copy) as rule:
        source, target = (
            f"{stage.hosts(side).partition(',')[0]}{rule.root}" for side in (Side.A, Side.B)
        )
        seconds = await asyncio.to_thread(zk_shell.mirror, source, target)
        copied = await stage.contents(Side.B, rule.root)
    return seconds / len(copied)


async def second(stage: Stage) -> AsyncGenerator[Figure]:
    """Start again on a copied tree: nothing may be written."""
    async with stage.tree(Side.A, stage.sizes.watched) as rule:
        engine = stage.engine(rule)
        async with held(engine):
            engine.start()
            await engine.await_live()
            await engine.stop()
            before = await stage.contents(Side.B, rule.root)
            began_at = engine.start()
            await engine.await_live()
            live_s = time.monotonic() - began_at
            # One write after that is copied only when the comparison is done.
            canary = leaves.leaf_path(rule.root, 0)
            await stage.lanes[Side.A].set_data(canary, leaves.encode(1), ANY_VERSION)
            await _await_data(stage, canary, leaves.encode(1))
            seconds = time.monotonic() - began_at
            after = await stage.contents(Side.B, rule.root)
    what = f"second run, nothing changed, {stage.sizes.watched:,} znodes"
    yield Figure(f"{what}: writes", "", float(_writes(before, after, canary)), target=0)
    yield Figure(
        f"{what}: until a new write comes through",
        "s",
        seconds,
        target=_RERUN_MAX_S,
        note=f"live {live_s:.2f} s after the process was started",
    )


def _writes(before: Mapping[str, Znode], after: Mapping[str, Znode], canary: str) -> int:
    """How many znodes of the copy were written, apart from the one that was meant to be."""

    def stamps(tree: Mapping[str, Znode]) -> dict[str, tuple[int, int, int]]:
        stats = {path: znode.stat for path, znode in tree.items() if path != canary}
        return {path: (s.czxid, s.mzxid, s.aversion) for path, s in stats.items()}

    one, other = stamps(before), stamps(after)
    return sum(one.get(path) != other.get(path) for path in one.keys() | other.keys())


async def _await_data(stage: Stage, path: str, data: bytes) -> None:
    async with asyncio.timeout(EQUAL_BOUND_S):
        while True:
            found, _ = await stage.lanes[Side.B].get(path)
            if found == data:
                return
            await asyncio.sleep(_POLL_S)
