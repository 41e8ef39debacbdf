"""Both ways at once, conflicts that wait, and hooks, between two real servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from sync_engine import engine as engine_module
from sync_engine.client import EngineRefusedError, Side
from sync_engine.engine import Engine
from sync_engine.errors import RulesError, ZkError
from sync_engine.lane import Lane
from sync_engine.merge import Versions, find_hook
from sync_engine.resolving import Choice
from sync_engine.settings import parse_rules
from sync_engine.znode import PERM_ALL, PERM_READ, WORLD_ALL, Acl
from tests.sync_engine.rig import Rig, is_live, read, tree, until, until_equal, worker
from tests.sync_engine.servers import Server
from tests.waiting import BOUND_S

Pair = tuple[Server, Server]
_RESTRICTED = (Acl(PERM_ALL, "digest", "user:hash="), Acl(PERM_READ, "world", "anyone"))


def rig_of(pair: Pair, folder: Path, rule: dict[str, Any], **tuning: Any) -> Rig:
    """A rig whose subtree has this rule, and no projection."""
    rig = Rig(pair, folder, **tuning)
    rig.document["subtrees"][0] |= rule
    rig.document["projections"] = []
    rig.rules_file.write_text(json.dumps(rig.document))
    return rig


async def settled(engine: Engine, rig: Rig, a: Lane, b: Lane) -> None:
    """Wait until both trees are equal and both workers idle."""
    await until_equal(rig, a, b, BOUND_S)
    await until(lambda: is_live(engine) and engine.twins[rig.name].is_idle, "idle workers")


async def in_conflict(engine: Engine, rig: Rig, a: Lane, b: Lane, name: str) -> None:
    """Write different data on both sides while neither is copied."""
    async with worker(engine, rig).lock:
        await a.set_data(f"{rig.a}/{name}", b"from a", -1)
        # Later on any clock: mtime counts milliseconds.
        await asyncio.sleep(0.3)
        await b.set_data(f"{rig.b}/{name}", b"from b", -1)


async def test_writes_of_both_sides_arrive(pair: Pair, tmp_path: Path) -> None:
    rig = rig_of(pair, tmp_path, {"direction": "both"})
    async with rig.lanes() as (a, b):
        await a.create(f"{rig.a}/old-a", b"a", WORLD_ALL)
        await b.create("/other", b"", WORLD_ALL) if await b.exists("/other") is None else None
        await b.create(rig.b, None, WORLD_ALL)
        await b.create(f"{rig.b}/old-b", b"b", _RESTRICTED)
        async with rig.engine() as engine:
            await settled(engine, rig, a, b)
            assert set(await tree(a, rig.a)) == {"", "/old-a", "/old-b"}
            for i in range(40):
                side, root = ((a, rig.a), (b, rig.b))[i % 2]
                await side.create(f"{root}/n{i}", b"1", WORLD_ALL)
                await side.create(f"{root}/n{i}/below", None, WORLD_ALL)
            await settled(engine, rig, a, b)
            for i in range(40):
                side, root = ((b, rig.b), (a, rig.a))[i % 2]
                if i % 3:
                    await side.set_data(f"{root}/n{i}", b"", -1)
                    await side.set_acl(f"{root}/n{i}", _RESTRICTED, -1)
                else:
                    await side.delete(f"{root}/n{i}/below", -1)
                    await side.delete(f"{root}/n{i}", -1)
            await settled(engine, rig, a, b)
            assert len(await tree(a, rig.a)) == 3 + 2 * 26
            assert (await engine.audit(60)).equal
            assert engine.conflicts.count == 0, rig.conflicts()


async def test_traffic_on_both_sides_converges_without_echo_writes(
    pair: Pair, tmp_path: Path
) -> None:
    rig = rig_of(pair, tmp_path, {"direction": "both"})
    async with rig.lanes() as (a, b), rig.engine() as engine:
        await until(lambda: b.exists(rig.b), "the root on side b")

        async def write(side: Lane, root: str, mark: str) -> None:
            for i in range(60):
                await side.create(f"{root}/{mark}{i}", b"0", WORLD_ALL)
                await side.set_data(f"{root}/{mark}{i}", b"1", -1)

        await asyncio.gather(write(a, rig.a, "a"), write(b, rig.b, "b"))
        await settled(engine, rig, a, b)
        assert engine.conflicts.count == 0, rig.conflicts()
        for mark, copies, root in (("a", b, rig.b), ("b", a, rig.a)):
            for i in range(60):
                # No copy was written more often than its original: a write and a change.
                assert (await copies.get(f"{root}/{mark}{i}"))[1].version <= 1


@pytest.mark.parametrize(
    "rule",
    [
        {"on_conflict": "owner"},
        {"on_conflict": "b", "delete_vs_update": "delete"},
        {"on_conflict": "latest", "delete_vs_update": "owner"},
    ],
)
async def test_random_writes_of_both_sides_to_the_same_paths_converge(
    pair: Pair, tmp_path: Path, rule: dict[str, Any]
) -> None:
    rig = rig_of(pair, tmp_path, {"direction": "both", **rule})
    paths = ["/x", "/x/1", "/x/1/deep", "/x/2", "/y", "/y/1", "/z"]
    async with rig.lanes() as (a, b), rig.engine() as engine:
        await until(lambda: b.exists(rig.b), "the root on side b")

        async def write(side: Lane, root: str, seed: int) -> None:
            chance = random.Random(seed)  # noqa: S311 - the same each time
            for number in range(120):
                path = root + chance.choice(paths)
                data = f"{seed} {number}".encode()
                acl = chance.choice((WORLD_ALL, _RESTRICTED))
                # A path may be there already, or not yet, or have children: any of it is as good.
                with contextlib.suppress(ZkError):
                    match chance.randrange(4):
                        case 0:
                            await side.create(path, data, acl)
                        case 1:
                            await side.set_data(path, data, -1)
                        case 2:
                            await side.set_acl(path, acl, -1)
                        case _:
                            await side.delete(path, -1)

        await asyncio.gather(write(a, rig.a, 1), write(b, rig.b, 2))
        await settled(engine, rig, a, b)
        assert (await engine.audit(60)).equal
        for worker_ in engine.workers():
            assert worker_.subtree.counters.skipped == {}


@pytest.mark.parametrize(
    ("rule", "winner"),
    [
        ({"on_conflict": "owner", "owner": "b"}, b"from b"),
        ({"on_conflict": "a"}, b"from a"),
        ({"on_conflict": "latest"}, b"from b"),
    ],
)
async def test_conflict_is_won_by_the_rule_and_recorded_with_both_versions(
    pair: Pair, tmp_path: Path, rule: dict[str, Any], winner: bytes
) -> None:
    rig = rig_of(pair, tmp_path, {"direction": "both", **rule})
    async with rig.lanes() as (a, b):
        await a.create(f"{rig.a}/x", b"0", WORLD_ALL)
        async with rig.engine() as engine:
            await settled(engine, rig, a, b)
            await until(lambda: engine.clocks.skew_ms() is not None, "a measure of the clocks")
            await in_conflict(engine, rig, a, b, "x")
            await settled(engine, rig, a, b)
            assert (await a.get(f"{rig.a}/x"))[0] == winner
            (line,) = (await engine.conflict_page(0, 10)).conflicts
            assert line.winner is not None
            assert line.loser is not None
            assert {line.winner.data, line.loser.data} == {"ZnJvbSBh", "ZnJvbSBi"}
            assert line.winner_side is (Side.A if winner == b"from a" else Side.B)
            assert line.winner.acl
            assert line.why


async def test_clocks_that_differ_let_the_owner_win_and_say_so(pair: Pair, tmp_path: Path) -> None:
    rule = {"direction": "both", "on_conflict": "latest"}
    rig = rig_of(pair, tmp_path, rule, clock_skew_ms_max=0)
    async with rig.lanes() as (a, b):
        await a.create(f"{rig.a}/x", b"0", WORLD_ALL)
        async with rig.engine() as engine:
            await settled(engine, rig, a, b)
            await until(lambda: engine.clocks.skew_ms() is not None, "a measure of the clocks")
            await in_conflict(engine, rig, a, b, "x")
            await settled(engine, rig, a, b)
            assert (await a.get(f"{rig.a}/x"))[0] == b"from a"
            (line,) = (await engine.conflict_page(0, 10)).conflicts
            assert "clocks differ" in (line.why or "")


@pytest.mark.parametrize(("strategy", "survives"), [("update", True), ("delete", False)])
async def test_deletion_against_update(
    pair: Pair, tmp_path: Path, strategy: str, survives: bool
) -> None:
    rig = rig_of(pair, tmp_path, {"direction": "both", "delete_vs_update": strategy})
    async with rig.lanes() as (a, b):
        await a.create(f"{rig.a}/x", b"0", WORLD_ALL)
        async with rig.engine() as engine:
            await settled(engine, rig, a, b)
            async with worker(engine, rig).lock:
                await a.delete(f"{rig.a}/x", -1)
                await b.set_data(f"{rig.b}/x", b"new", -1)
            await settled(engine, rig, a, b)
            assert (await read(a, f"{rig.a}/x") is not None) is survives
            assert engine.conflicts.count == 1


async def test_new_child_keeps_a_parent_that_the_other_side_deletes(
    pair: Pair, tmp_path: Path
) -> None:
    rig = rig_of(pair, tmp_path, {"direction": "both"})
    async with rig.lanes() as (a, b):
        await a.create(f"{rig.a}/x", b"0", WORLD_ALL)
        await a.create(f"{rig.a}/x/old", b"0", WORLD_ALL)
        async with rig.engine() as engine:
            await settled(engine, rig, a, b)
            async with worker(engine, rig).lock:
                await a.delete(f"{rig.a}/x/old", -1)
                await a.delete(f"{rig.a}/x", -1)
                await b.create(f"{rig.b}/x/new", b"1", WORLD_ALL)
            await settled(engine, rig, a, b)
            assert set(await tree(a, rig.a)) == {"", "/x", "/x/new"}
            assert engine.conflicts.count == 1


@pytest.mark.parametrize("winner", list(Side))
async def test_manual_conflict_waits_over_a_restart_until_it_is_resolved(
    pair: Pair, tmp_path: Path, winner: Side
) -> None:
    rig = rig_of(pair, tmp_path, {"direction": "both", "on_conflict": "manual"})
    async with rig.lanes() as (a, b):
        for name in ("x", "y"):
            await a.create(f"{rig.a}/{name}", b"0", WORLD_ALL)
        async with rig.engine() as engine:
            await settled(engine, rig, a, b)
            await in_conflict(engine, rig, a, b, "x")
            await until(lambda: engine.held().conflicts, "a held conflict")
            await a.set_data(f"{rig.a}/y", b"1", -1)
            await until(lambda: _has(b, f"{rig.b}/y", b"1"), "other paths go on")
            id_ = engine.held().conflicts[0].id
        async with rig.engine() as engine:
            (held,) = engine.held().conflicts
            assert held.id == id_
            shown = await engine.show_held(id_)
            assert shown.a is not None
            assert shown.b is not None
            assert (shown.a.data, shown.b.data) == ("ZnJvbSBh", "ZnJvbSBi")
            await b.set_data(f"{rig.b}/x", b"later b", -1)
            with pytest.raises(EngineRefusedError) as caught:
                await engine.resolve(id_, Choice(winner, shown.seen, BOUND_S))
            assert caught.value.type == "ChangedSince"
            assert (await a.get(f"{rig.a}/x"))[0] == b"from a"
            seen = (await engine.show_held(id_)).seen
            left = await engine.resolve(id_, Choice(winner, seen, BOUND_S))
            assert left.conflicts == []
            await settled(engine, rig, a, b)
            expected = b"from a" if winner is Side.A else b"later b"
            assert (await a.get(f"{rig.a}/x"))[0] == expected


@pytest.mark.parametrize("winner", list(Side))
async def test_manual_in_one_direction_keeps_a_foreign_write_until_it_is_resolved(
    pair: Pair, tmp_path: Path, winner: Side
) -> None:
    rig = rig_of(pair, tmp_path, {"on_conflict": "manual"})
    async with rig.lanes() as (a, b):
        await a.create(f"{rig.a}/x", b"0", WORLD_ALL)
        async with rig.engine() as engine:
            await until_equal(rig, a, b)
            await b.set_data(f"{rig.b}/x", b"foreign", -1)
            await a.set_data(f"{rig.a}/x", b"owner's", -1)
            await until(lambda: engine.held().conflicts, "a held conflict")
            assert (await b.get(f"{rig.b}/x"))[0] == b"foreign"
            id_ = engine.held().conflicts[0].id
            await engine.resolve(id_, Choice(winner, None, BOUND_S))
            await until_equal(rig, a, b, BOUND_S)
            expected = b"owner's" if winner is Side.A else b"foreign"
            assert (await a.get(f"{rig.a}/x"))[0] == expected


def _union(versions: Versions) -> bytes:
    parts = set((versions.a or b"").split(b",")) | set((versions.b or b"").split(b","))
    return b",".join(sorted(parts))


async def test_hook_merges_both_versions(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = _with_hook(pair, tmp_path, monkeypatch, _union)
    async with rig.lanes() as (a, b):
        await a.create(f"{rig.a}/x", b"0", WORLD_ALL)
        async with rig.engine() as engine:
            await settled(engine, rig, a, b)
            await in_conflict(engine, rig, a, b, "x")
            await settled(engine, rig, a, b)
            assert (await b.get(f"{rig.b}/x"))[0] == b"from a,from b"
            assert (await a.get(f"{rig.a}/x"))[0] == b"from a,from b"
            assert engine.conflicts.count == 1


@pytest.mark.parametrize("fault", ["raises", "hangs", "gives no bytes"])
async def test_hook_that_fails_leaves_the_path_to_an_operator(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    over = threading.Event()

    def hook(_: Versions) -> object:
        if fault == "raises":
            msg = "no"
            raise ValueError(msg)
        if fault == "hangs":
            over.wait(BOUND_S)
        return "text"

    rig = _with_hook(pair, tmp_path, monkeypatch, hook, merge_timeout_s=0.2)
    async with rig.lanes() as (a, b):
        await a.create(f"{rig.a}/x", b"0", WORLD_ALL)
        async with rig.engine() as engine:
            await settled(engine, rig, a, b)
            await in_conflict(engine, rig, a, b, "x")
            await until(lambda: engine.held().conflicts, "a held conflict")
            over.set()
            assert "merge hook" in engine.held().conflicts[0].why
            assert (await a.get(f"{rig.a}/x"))[0] == b"from a"
            assert (await b.get(f"{rig.b}/x"))[0] == b"from b"


def test_hook_that_nobody_offers_is_an_error_at_the_start(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(RulesError, match=r"mesos_platform\.sync\.merge"):
        find_hook("nobody's")


async def test_sequential_znode_stops_a_subtree_that_goes_both_ways(
    pair: Pair, tmp_path: Path
) -> None:
    rig = rig_of(pair, tmp_path, {"direction": "both"})
    async with rig.lanes() as (a, b), rig.engine() as engine:
        await until(lambda: b.exists(rig.b), "the root on side b")
        await a.create(f"{rig.a}/lock-0000000001", b"", WORLD_ALL)
        await until(lambda: worker(engine, rig).stalled, "a stall")
        assert engine.twins[rig.name].stalled
        assert set(await tree(b, rig.b)) == {""}
        engine.confirm(rig.name)
        await settled(engine, rig, a, b)


async def test_fixed_direction_does_not_flip(pair: Pair, tmp_path: Path) -> None:
    rig = rig_of(pair, tmp_path, {"direction": "b_to_a", "owner": "b"})
    async with rig.lanes() as (a, b):
        if await b.exists("/other") is None:
            await b.create("/other", b"", WORLD_ALL)
        await b.create(rig.b, b"root", WORLD_ALL)
        async with rig.engine() as engine:
            await until(lambda: _has(a, rig.a, b"root"), "the copy")
            with pytest.raises(EngineRefusedError) as caught:
                await engine.flip(rig.name, Side.A, 5)
            assert caught.value.type == "DirectionFixed"


async def _has(lane: Lane, path: str, data: bytes) -> bool:
    node = await read(lane, path)
    return node is not None and node.data == data


def _with_hook(
    pair: Pair, folder: Path, monkeypatch: pytest.MonkeyPatch, hook: Any, **tuning: Any
) -> Rig:

    def find(name: str) -> Any:
        del name
        return hook

    monkeypatch.setattr(engine_module, "find_hook", find)
    rule = {"direction": "both", "on_conflict": "merge", "merge_hook": "made-up"}
    rig = rig_of(pair, folder, rule, **tuning)
    parse_rules(rig.document, "rules")
    return rig
