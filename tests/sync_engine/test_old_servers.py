"""Older servers on one side, real ones: 3.8, whose watches tell no zxids, 3.5, which has no
persistent watches, and one whose watch manager has none. The engine follows or scans, says which,
and converges.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_engine import identity, status
from sync_engine.client import Direction, EngineState, EnsembleAddress, Side, facts
from sync_engine.errors import ConnectionLostError, MultiFailedError, NoNodeError
from sync_engine.lane import Lane
from sync_engine.wire import Create, Delete
from sync_engine.znode import PERM_ALL, PERM_READ, WORLD_ALL, Acl
from tests.sync_engine.rig import Rig, raise_zxid, read, until_equal
from tests.sync_engine.servers import Server, start_all
from tests.sync_engine.test_two_way import rig_of
from tests.waiting import BOUND_S, until
from tools import locate

Pair = tuple[Server, Server]
_MANAGER = "org.apache.zookeeper.server.watch.WatchManagerOptimized"
_RESTRICTED = (Acl(PERM_ALL, "digest", "user:hash="), Acl(PERM_READ, "world", "anyone"))
_NO_WATCHES = "without watches"
_SCANNED = ("3.5.10", _NO_WATCHES)


@pytest.fixture(
    scope="module",
    params=["3.8.0", *(pytest.param(v, marks=pytest.mark.long) for v in ("3.5.10", _NO_WATCHES))],
)
def version(request: pytest.FixtureRequest) -> str:
    """What side a is; side b is the newest."""
    return str(request.param)


@pytest.fixture(scope="module")
def old_pair(version: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("old")
    if version == _NO_WATCHES:
        a = Server(folder, java_options=f"-Dzookeeper.watchManagerName={_MANAGER}")
    else:
        a = Server(folder, jars=locate.folder(f"zookeeper-{version}") / "lib")
    b = Server(tmp_path_factory.mktemp("new"))
    with start_all(a, b):
        yield a, b


async def test_the_old_server_is_one(old_pair: Pair, version: str) -> None:
    found = await facts(EnsembleAddress(old_pair[0].hosts))
    (server,) = found.servers
    assert server.version is not None
    assert version in (_NO_WATCHES, server.version)


async def _acquaint(*lanes: Lane) -> None:
    """Let lanes learn that a server has no multiRead: 3.5 closes the connection behind the first
    one, and its answer may be lost with it."""
    for lane in lanes:

        async def has_read(lane: Lane = lane) -> bool:
            try:
                await lane.read("/")
            except ConnectionLostError:
                return False
            return True

        await until(has_read, "a read")


async def test_all_that_a_znode_is_arrives_both_ways(old_pair: Pair, tmp_path: Path) -> None:
    rig = rig_of(old_pair, tmp_path, {"direction": "both"})
    async with rig.lanes() as (a, b), rig.engine() as engine:
        await _acquaint(a, b)
        await until_equal(rig, a, b, BOUND_S)
        for lane, root, name in ((a, rig.a, "from-a"), (b, rig.b, "from-b")):
            await lane.create(f"{root}/{name}", b"1", WORLD_ALL)
            await lane.create(f"{root}/{name}/grün-日本", None, _RESTRICTED)
            await lane.create(f"{root}/{name}/empty", b"", WORLD_ALL)
            await lane.multi([Create(f"{root}/{name}/{n}", b"n", WORLD_ALL) for n in range(150)])
        await until(lambda: a.exists(f"{rig.a}/from-b/149"), "the copy on side a")
        await until_equal(rig, a, b, BOUND_S)
        await a.set_data(f"{rig.a}/from-b", None, -1)
        await b.set_acl(f"{rig.b}/from-a", _RESTRICTED, -1)
        await a.delete(f"{rig.a}/from-a/7", -1)
        await b.delete(f"{rig.b}/from-b/7", -1)

        async def have_both() -> bool:
            changed = await read(b, f"{rig.b}/from-b")
            restricted = await read(a, f"{rig.a}/from-a")
            gone = await b.exists(f"{rig.b}/from-a/7"), await a.exists(f"{rig.a}/from-b/7")
            assert changed is not None
            assert restricted is not None
            is_restricted = set(restricted.acl) == set(_RESTRICTED)
            return changed.data is None and is_restricted and gone == (None, None)

        await until(have_both, "changes of both sides")
        await until_equal(rig, a, b, BOUND_S)
        assert (await engine.audit(60)).equal


async def test_an_old_server_counts_children_as_guards_of_deletes_expect(
    old_pair: Pair, tmp_path: Path
) -> None:
    rig = Rig(old_pair, tmp_path)
    async with rig.lanes() as (a, _):
        await _acquaint(a)
        await a.create(f"{rig.a}/x", b"", WORLD_ALL)
        before = await a.exists(rig.a)
        assert before is not None
        await a.delete(f"{rig.a}/x", 0)
        await a.create(f"{rig.a}/x", b"", WORLD_ALL)
        delete = Delete(f"{rig.a}/x", 0)
        with pytest.raises(MultiFailedError) as caught:
            await a.multi([*identity.operations(rig.a, before.creates, WORLD_ALL), delete])
        assert (caught.value.index, caught.value.code) == (1, NoNodeError.code)
        assert await a.exists(f"{rig.a}/x") is not None
        await a.multi([*identity.operations(rig.a, before.creates + 1, WORLD_ALL), delete])
        assert await a.exists(f"{rig.a}/x") is None


async def test_a_subtree_flips_forth_and_back(old_pair: Pair, tmp_path: Path) -> None:
    rig = rig_of(old_pair, tmp_path, {})
    async with rig.lanes() as (a, b), rig.engine() as engine:
        await _acquaint(a, b)
        await a.create(f"{rig.a}/queue", b"", WORLD_ALL)
        for number in range(3):
            await a.create(f"{rig.a}/queue/n{number}", b"", WORLD_ALL)
            await a.delete(f"{rig.a}/queue/n{number}", -1)
        await until_equal(rig, a, b, BOUND_S)
        await raise_zxid(b, a, rig.election)
        assert (await engine.flip(rig.name, Side.B, 60)).padded == 3
        await b.set_data(f"{rig.b}/queue", b"from b", -1)

        async def is_back() -> bool:
            node = await read(a, f"{rig.a}/queue")
            return node is not None and node.data == b"from b"

        await until(is_back, "the copy on side a")
        await engine.flip(rig.name, Side.A, 60)
        assert (await engine.audit(60)).equal


async def test_what_changed_while_the_engine_was_away_arrives(
    old_pair: Pair, tmp_path: Path
) -> None:
    rig = rig_of(old_pair, tmp_path, {})
    async with rig.lanes() as (a, b):
        await _acquaint(a, b)
        await a.create(f"{rig.a}/gone", b"1", WORLD_ALL)
        async with rig.engine():
            await until_equal(rig, a, b, BOUND_S)
        await a.delete(f"{rig.a}/gone", -1)
        await a.create(f"{rig.a}/new", b"2", WORLD_ALL)
        async with rig.engine():
            await until_equal(rig, a, b, BOUND_S)


async def test_the_status_says_whether_a_side_is_scanned(
    old_pair: Pair, version: str, tmp_path: Path
) -> None:
    rig = Rig(old_pair, tmp_path)
    async with rig.lanes() as (a, b), rig.engine() as engine:
        await _acquaint(a, b)
        await a.create(f"{rig.a}/x", b"1", WORLD_ALL)
        await until_equal(rig, a, b, BOUND_S)
        found = status.gather(engine)
        # Nothing is wrong with it either way.
        assert found.is_sound
        if version not in _SCANNED:
            assert found.state is EngineState.LIVE
            return
        assert found.state is EngineState.DEGRADED
        assert any("side a has no persistent watches" in why for why in found.limits)
        # The lag that scans make is measured: samples are taken, and no marker waits for ever.
        lags = engine.meters[Direction.A_TO_B].lag
        before = len(lags.window())
        await until(lambda: len(lags.window()) > before, "samples of a direction that is scanned")
