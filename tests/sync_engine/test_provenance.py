"""Nothing is copied from, or to, an ensemble that is not what the engine knows."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from sync_engine.client import EngineBusyError, EngineState
from sync_engine.direction import Direction, Side
from sync_engine.documents import Identity
from sync_engine.engine import Engine
from sync_engine.errors import SameEnsembleError
from sync_engine.lane import Lane
from sync_engine.provenance import Found, Known, judge
from sync_engine.status import gather
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.rig import Rig, is_live, tree, until, until_equal, worker
from tests.sync_engine.servers import AUTH, Server, start_all
from tests.waiting import BOUND_S

Pair = tuple[Server, Server]
_A, _B = (Identity(pair="p", side=side) for side in Side)
_KNOWN = Known("p", {Side.A: 10, Side.B: 10}, {Side.A: 20, Side.B: 20})


def found(
    identity: Identity | None, *, marker: int = 10, zxid: int = 20, data: bool = True
) -> Found:
    """A side that is where it was."""
    return Found(identity, marker, zxid, data)


@pytest.mark.parametrize(
    ("a", "b", "known", "told"),
    [
        (found(_A), found(_B), _KNOWN, None),
        (found(_A), found(_B), Known(), None),
        (found(None), found(None), Known(), None),
        (found(_A), found(None, data=False), _KNOWN, None),
        (found(_B), found(None, data=False), Known(), None),
        (found(None), found(_B, data=False), Known(), None),
        (found(_A, marker=9), found(_B), _KNOWN, "side a went back"),
        (found(_A), found(_B, zxid=19), _KNOWN, "side b went back"),
        (found(_B), found(_A), _KNOWN, "exchanged"),
        (found(_B), found(_A), Known(), "exchanged"),
        (found(_B), found(None), _KNOWN, "exchanged"),
        (found(_A), found(_A), _KNOWN, "started from the other's data"),
        (found(None), found(_B), _KNOWN, "the source was wiped"),
        (found(None), found(_B), Known(), "copied from another ensemble"),
        (found(_A), found(None), _KNOWN, "is another ensemble"),
        (found(None), found(None), _KNOWN, "neither side knows"),
        (found(_A), found(_B), Known("q"), "checkpoint is of pair q"),
        (found(_A), found(None), Known("q"), "checkpoint is of pair q"),
        (found(_A), found(Identity(pair="q", side=Side.B)), Known(), "never copied"),
    ],
)
def test_what_is_not_as_it_was_is_told(a: Found, b: Found, known: Known, told: str | None) -> None:
    verdict = judge({Side.A: a, Side.B: b}, known, {Side.A})
    if told is None:
        assert verdict.reasons == ()
    else:
        assert told in " ".join(verdict.reasons)
        assert "confirm" in " ".join(verdict.reasons)


@pytest.fixture
def own_pair(tmp_path: Path) -> Iterator[Pair]:
    """Two servers of this test alone, which may wipe them."""
    a, b = Server(tmp_path / "server-a"), Server(tmp_path / "server-b")
    with start_all(a, b):
        yield a, b


def is_held(engine: Engine) -> bool:
    """Whether the start waits for an operator."""
    status = gather(engine)
    return bool(engine.held_reasons) and status.state is EngineState.STALLED


def restart_with(server: Server, data: Path | None) -> None:
    """Start a server with other data; None is an empty folder."""
    server.kill()
    shutil.rmtree(server.data)
    if data is not None:
        shutil.copytree(data, server.data)
    server.start()
    server.await_serving()


def snapshot(server: Server, folder: Path) -> Path:
    """A copy of a server's data as it is now."""
    server.kill()
    copied = Path(shutil.copytree(server.data, folder))
    server.start()
    server.await_serving()
    return copied


def rig_of(pair: Pair, folder: Path, *, session_timeout_s: float = 2.0) -> Rig:
    """A rig without projections."""
    rig = Rig(pair, folder, session_timeout_s=session_timeout_s)
    rig.document["projections"] = []
    return rig


async def copied(rig: Rig) -> None:
    """Create some znodes and copy them."""
    async with rig.lanes() as (a, b):
        for i in range(3):
            await a.create(f"{rig.a}/n{i}", b"1", WORLD_ALL)
        async with rig.engine():
            await until_equal(rig, a, b, BOUND_S)


@contextlib.asynccontextmanager
async def lane_to(server: Server) -> AsyncGenerator[Lane]:
    """The super user on one side, over a session that has seen nothing."""
    lane = Lane(server.hosts, AUTH, session_timeout_s=5)
    await lane.start()
    try:
        yield lane
    finally:
        await lane.close()


@pytest.mark.parametrize("restored", [False, pytest.param(True, marks=pytest.mark.long)])
async def test_owner_that_went_back_while_the_engine_ran_stops_it_until_confirmed(
    own_pair: Pair, tmp_path: Path, restored: bool
) -> None:
    rig = rig_of(own_pair, tmp_path)
    server = own_pair[0]
    await copied(rig)
    data = snapshot(server, tmp_path / "snapshot") if restored else None
    async with rig.engine() as engine:
        async with lane_to(server) as a:
            await a.create(f"{rig.a}/later", b"2", WORLD_ALL)
        async with lane_to(own_pair[1]) as b:
            await until(lambda: b.exists(f"{rig.b}/later"), "the copy", BOUND_S)
            before = await tree(b, rig.b)
            restart_with(server, data)
            await until(lambda: is_held(engine), "a held start", BOUND_S)
            assert ("went back" if restored else "wiped") in engine.held_reasons[0]
            assert await tree(b, rig.b) == before
            with pytest.raises(EngineBusyError, match="confirm"):
                engine.confirm("nothing")
            engine.confirm(None)
            await until(lambda: is_live(engine), "a live engine", BOUND_S)
            # Confirmed is that it goes on, not that anything is deleted.
            assert await tree(b, rig.b) == before
            async with lane_to(server) as a:
                if await a.exists(rig.a) is None:
                    await a.create(rig.a, None, WORLD_ALL)
                await a.create(f"{rig.a}/new", b"3", WORLD_ALL)
            await until(lambda: b.exists(f"{rig.b}/new"), "the copy", BOUND_S)


@pytest.mark.long
@pytest.mark.parametrize("of", ["this engine", "an engine before", "nothing"])
async def test_marker_sent_while_the_connection_is_lost_does_not_hide_that_a_side_went_back(
    own_pair: Pair, tmp_path: Path, of: str
) -> None:
    # What waits for a connection waits until the server is there again.
    rig = rig_of(own_pair, tmp_path, session_timeout_s=30.0)
    server = own_pair[0]
    await copied(rig)
    data = None if of == "nothing" else snapshot(server, tmp_path / "earlier")
    async with rig.engine() as engine:
        if of == "this engine":
            data = snapshot(server, tmp_path / "snapshot")
            await until(lambda: is_live(engine), "a live engine", BOUND_S)
        link = engine.links[Side.A]
        probe = engine.probes[Direction.leaving(Side.A)]
        before = probe.last_zxid
        await until(lambda: probe.last_zxid > before, "a marker that the copy has not", BOUND_S)
        server.kill()
        await until(link.lost.is_set, "a lost connection", BOUND_S)
        seen, count = link.writer.last_zxid, probe.count
        # As in the turn of the loop in which the loss is not told yet.
        link.proven.set()
        await until(lambda: probe.count > count, "a marker that waits", BOUND_S)
        link.proven.clear()
        restart_with(server, data)
        async with lane_to(server) as a:
            if data is None:
                await a.create(rig.a, None, WORLD_ALL)
            # From here on the server takes sessions that have seen more than it holds.
            while a.last_zxid <= seen + 100:
                await a.set_data(rig.a, b"", -1)
        await until(lambda: is_held(engine), "a held start", BOUND_S)
        assert ("wiped" if data is None else "side a went back") in engine.held_reasons[0]


@pytest.mark.long
async def test_restored_owner_is_noticed_at_the_start_even_above_the_old_zxid(
    own_pair: Pair, tmp_path: Path
) -> None:
    rig = rig_of(own_pair, tmp_path)
    server = own_pair[0]
    await copied(rig)
    data = snapshot(server, tmp_path / "snapshot")
    async with lane_to(server) as a:
        await a.create(f"{rig.a}/later", b"2", WORLD_ALL)
    async with rig.engine() as engine, lane_to(own_pair[1]) as b:
        await until(lambda: b.exists(f"{rig.b}/later"), "the copy", BOUND_S)
        seen = engine.links[Side.A].writer.last_zxid
    restart_with(server, data)
    async with lane_to(server) as a:
        while a.last_zxid <= seen + 100:
            await a.set_data(rig.a, b"", -1)
    async with rig.engine(live=False) as engine, lane_to(own_pair[1]) as b:
        await until(lambda: is_held(engine), "a held start", BOUND_S)
        assert "side a went back" in engine.held_reasons[0]
        assert await b.exists(f"{rig.b}/later") is not None


async def test_exchanged_sides_wait_until_confirmed(own_pair: Pair, tmp_path: Path) -> None:
    rig = rig_of(own_pair, tmp_path)
    await copied(rig)
    sides = rig.document["sides"]
    changes = {"sides": {"a": sides["b"], "b": sides["a"]}}
    async with rig.engine(live=False, changes=changes) as engine:
        await until(lambda: is_held(engine), "a held start", BOUND_S)
        assert "exchanged" in engine.held_reasons[0]
        assert not engine.is_started
        engine.confirm(None)
        await until(lambda: is_live(engine), "a live engine", BOUND_S)


async def test_checkpoint_of_other_ensembles_waits(
    own_pair: Pair, pair: Pair, tmp_path: Path
) -> None:
    rig = rig_of(own_pair, tmp_path)
    await copied(rig)
    (tmp_path / "other").mkdir()
    await copied(rig_of(pair, tmp_path / "other"))
    changes = {"state_dir": str(tmp_path / "other" / "state")}
    async with rig.engine(live=False, changes=changes) as engine:
        await until(lambda: is_held(engine), "a held start", BOUND_S)
        assert "checkpoint is of pair" in engine.held_reasons[0]


async def test_new_empty_target_is_filled_without_a_question(
    own_pair: Pair, tmp_path: Path
) -> None:
    rig = rig_of(own_pair, tmp_path)
    await copied(rig)
    restart_with(own_pair[1], None)
    async with rig.engine(), lane_to(own_pair[0]) as a, lane_to(own_pair[1]) as b:
        assert await tree(a, rig.a) == await tree(b, rig.b)


async def test_one_ensemble_on_both_sides_is_an_error_of_its_own(
    own_pair: Pair, tmp_path: Path
) -> None:
    rig = rig_of(own_pair, tmp_path)
    hosts = own_pair[0].hosts.replace("127.0.0.1", "localhost")
    changes = {
        "sides": {
            "a": rig.document["sides"]["a"],
            "b": {**rig.document["sides"]["b"], "hosts": hosts},
        }
    }
    with pytest.raises(SameEnsembleError):
        async with rig.engine(changes=changes):
            pass
    (tmp_path / "other").mkdir()
    await copied(rig_of(own_pair, tmp_path / "other"))
    # Also where the ensemble is of a pair already.
    with pytest.raises(SameEnsembleError):
        async with rig.engine(changes=changes):
            pass


async def test_source_without_its_tree_stalls_however_small_it_was(
    pair: Pair, tmp_path: Path
) -> None:
    rig = rig_of(pair, tmp_path)
    await copied(rig)
    async with lane_to(pair[0]) as a, lane_to(pair[1]) as b:
        for i in range(3):
            await a.delete(f"{rig.a}/n{i}", -1)
        await a.delete(rig.a, -1)
        async with rig.engine(live=False) as engine:
            await until(lambda: engine.is_started and worker(engine, rig).stalled, "a stall")
            assert len(await tree(b, rig.b)) == 4
            engine.confirm(rig.name)
            await until(lambda: _is_gone(b, rig.b), "the deletes", BOUND_S)


async def _is_gone(lane: Lane, path: str) -> bool:
    await lane.sync(path)
    return await lane.exists(path) is None
