"""What both real servers and servers in memory do with sessions and watches."""

from __future__ import annotations

import pytest

from sync_engine.errors import (
    MultiFailedError,
)
from sync_engine.lane import Lane
from sync_engine.session import LaneState, SavedSession
from sync_engine.wire import Check, Create, Delete, SetData
from sync_engine.znode import PERM_ALL, WORLD_ALL, Acl
from tests.sync_engine.bench import CHANGED, CREATED, DELETED, Bench
from tests.sync_engine.servers import AUTH
from tests.waiting import until


def test_ephemerals_end_with_their_session_under_one_zxid(bench: Bench) -> None:
    async def scenario(bench: Bench, lane: Lane) -> None:
        root = bench.root
        async with bench.watch(root) as watched:
            async with bench.lane() as other:
                for name in ("x", "y"):
                    stat = await other.create(f"{root}/{name}", b"", WORLD_ALL, ephemeral=True)
                    assert stat is not None
                    assert stat.ephemeral_owner == other.session_id
            seen = await watched.seen(4)
            assert set(seen[2:]) == {(DELETED, f"{root}/x"), (DELETED, f"{root}/y")}
            assert len({event.zxid for event in watched.events[2:]}) == 1
        await lane.sync(root)
        assert (await lane.children(root))[0] == []

    bench.run(scenario)


def test_session_goes_on_for_who_knows_it(bench: Bench) -> None:
    async def scenario(bench: Bench, lane: Lane) -> None:
        first = Lane(bench.hosts, AUTH, session_timeout_s=5)
        await first.start()
        await first.create(f"{bench.root}/mine", b"", WORLD_ALL, ephemeral=True)
        saved = first.saved
        await first.close(keep_session=True)
        async with bench.lane(saved=SavedSession(saved.id, b"0" * 16)) as stranger:
            assert stranger.session_id not in (0, saved.id)
        async with bench.lane(saved=saved) as second:
            assert second.session_id == saved.id
            assert await second.exists(f"{bench.root}/mine") is not None
        await lane.sync(bench.root)
        assert await lane.exists(f"{bench.root}/mine") is None

    bench.run(scenario)


def test_session_that_was_ended_is_replaced_and_its_ephemerals_are_gone(bench: Bench) -> None:
    async def scenario(bench: Bench, lane: Lane) -> None:
        states: list[LaneState] = []
        async with bench.lane() as other:
            other.on_state(states.append)
            await other.create(f"{bench.root}/mine", b"", WORLD_ALL, ephemeral=True)
            before = other.session_id
            await bench.expire(other.saved)
            # The one that is robbed may come back before its session is closed, and once more.
            await until(lambda: LaneState.EXPIRED in states, "an end of the session")
            await until(lambda: states[-1] is LaneState.CONNECTED, "a new session")
            assert states[-3:] == [LaneState.DISCONNECTED, LaneState.EXPIRED, LaneState.CONNECTED]
            assert other.session_id != before
            await other.sync(bench.root)
            assert await other.exists(f"{bench.root}/mine") is None

    bench.run(scenario)


def test_watch_tells_every_change_once_in_order_with_its_zxid(bench: Bench) -> None:
    async def scenario(bench: Bench, lane: Lane) -> None:
        root = bench.root
        async with bench.watch(root) as watched:
            await lane.create(f"{root}/x", b"", WORLD_ALL)
            await lane.set_data(f"{root}/x", b"", 0)
            # Of an ACL nothing is told, of the same data it is.
            await lane.set_acl(f"{root}/x", WORLD_ALL, 0)
            await lane.set_data(f"{root}/x", b"", 1)
            await lane.delete(f"{root}/x", 2)
            with pytest.raises(MultiFailedError):
                await lane.multi([Create(f"{root}/no", b"", WORLD_ALL), Check(root, 7)])
            done = await lane.multi(
                [Create(f"{root}/p", b"", WORLD_ALL), Delete(f"{root}/p", 0), SetData(root, b"", 0)]
            )
            assert await watched.seen(7) == [
                (CREATED, f"{root}/x"),
                (CHANGED, f"{root}/x"),
                (CHANGED, f"{root}/x"),
                (DELETED, f"{root}/x"),
                (CREATED, f"{root}/p"),
                (DELETED, f"{root}/p"),
                (CHANGED, root),
            ]
            zxids = [event.zxid or 0 for event in watched.events]
            assert zxids[4:] == [done.zxid] * 3
            assert zxids == sorted(zxids)
            assert watched.gaps == 0

    bench.run(scenario)


def test_watch_on_what_is_not_there_and_beside_it(bench: Bench) -> None:
    async def scenario(bench: Bench, lane: Lane) -> None:
        root = bench.root
        async with bench.watch(f"{root}/x") as watched:
            await lane.create(f"{root}/xy", b"", WORLD_ALL)
            await lane.create(f"{root}/x", b"", WORLD_ALL)
            await lane.create(f"{root}/x/y", b"", WORLD_ALL)
            assert await watched.seen(2) == [(CREATED, f"{root}/x"), (CREATED, f"{root}/x/y")]

    bench.run(scenario)


def test_watch_tells_nothing_of_what_its_session_may_not_read(bench: Bench) -> None:
    async def scenario(bench: Bench, lane: Lane) -> None:
        root = bench.root
        closed = (Acl(PERM_ALL, "digest", "user:hash="),)
        async with bench.watch(root, auth=()) as watched:
            await lane.create(f"{root}/closed", b"", closed)
            await lane.set_data(f"{root}/closed", b"", 0)
            await lane.delete(f"{root}/closed", 1)
            await lane.create(f"{root}/open", b"", WORLD_ALL)
            assert await watched.seen(1) == [(CREATED, f"{root}/open")]

    bench.run(scenario)


def test_watch_of_an_ended_session_is_set_again_behind_a_gap(bench: Bench) -> None:
    async def scenario(bench: Bench, lane: Lane) -> None:
        root = bench.root
        async with bench.watch(root) as watched:
            saved = watched.session.saved
            assert saved is not None
            most = await bench.expire(saved)
            await until(lambda: watched.session.session_id not in (0, saved.id), "a new session")
            await until(lambda: watched.session.stands, "the watch of the new session")
            assert 1 <= watched.gaps <= most
            await lane.create(f"{root}/later", b"", WORLD_ALL)
            await until(lambda: watched.events, "an event")
            assert [event.path for event in watched.events] == [f"{root}/later"]

    bench.run(scenario)
