"""Copy and live replication between two real servers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sync_engine.errors import FencedError
from sync_engine.status import gather
from sync_engine.znode import PERM_ALL, PERM_READ, WORLD_ALL, Acl
from tests.sync_engine.rig import Rig, read, tree, until_equal, worker
from tests.sync_engine.servers import Server, start_all
from tests.waiting import until

_RESTRICTED = (Acl(PERM_ALL, "digest", "user:hash="), Acl(PERM_READ, "world", "anyone"))
Pair = tuple[Server, Server]


async def test_first_copy_keeps_data_acls_and_the_difference_of_null_and_empty(
    pair: Pair, tmp_path: Path
) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b):
        await a.create(f"{rig.a}/null", None, WORLD_ALL)
        await a.create(f"{rig.a}/empty", b"", WORLD_ALL)
        await a.create(f"{rig.a}/größe-日本", b"\x00\xff", _RESTRICTED)
        await a.create(f"{rig.a}/größe-日本/below", b"x", _RESTRICTED)
        await a.create(f"{rig.a}/gone", b"x", WORLD_ALL, ephemeral=True)
        async with rig.engine():
            copy = await tree(b, rig.b)
        assert copy == await tree(a, rig.a)
        assert copy["/null"][0] is None
        assert copy["/empty"][0] == b""
        assert "/gone" not in copy


async def test_changes_follow_live(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b), rig.engine() as engine:
        await a.create(f"{rig.a}/x", b"1", WORLD_ALL)
        await a.create(f"{rig.a}/x/y", b"2", _RESTRICTED)
        await until_equal(rig, a, b)
        await a.set_data(f"{rig.a}/x", None, -1)
        await a.delete(f"{rig.a}/x/y", -1)
        await until_equal(rig, a, b)
        await a.set_acl(f"{rig.a}/x", _RESTRICTED, -1)
        await until_equal(rig, a, b)
        await a.delete(f"{rig.a}/x", -1)
        await until_equal(rig, a, b)
        assert engine.conflicts.count == 0
        assert worker(engine, rig).subtree.counters.skipped == {}


async def test_every_write_of_a_burst_arrives(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b), rig.engine() as engine:
        await asyncio.gather(
            *(a.create(f"{rig.a}/n{i:04d}", b"0" * 100, WORLD_ALL) for i in range(1000))
        )
        await asyncio.gather(
            *(a.set_data(f"{rig.a}/n{i:04d}", b"1", -1) for i in range(0, 1000, 3))
        )
        await asyncio.gather(*(a.delete(f"{rig.a}/n{i:04d}", -1) for i in range(0, 1000, 7)))
        await until_equal(rig, a, b)
        report = await engine.audit(30)
        assert report.equal
        found = report.subtrees[rig.name]
        assert found.digest_a == found.digest_b
        assert engine.conflicts.count == 0


async def test_audit_is_equal_under_traffic(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, _), rig.engine() as engine:
        for i in range(100):
            await a.create(f"{rig.a}/n{i}", b"", WORLD_ALL)
        stop = asyncio.Event()

        async def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                await a.set_data(f"{rig.a}/n{number % 100}", str(number).encode(), -1)

        writing = asyncio.create_task(write())
        try:
            for _ in range(3):
                assert (await engine.audit(30)).equal
        finally:
            stop.set()
            await writing


async def test_foreign_write_is_found_by_an_audit_recorded_and_overwritten(
    pair: Pair, tmp_path: Path
) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b), rig.engine() as engine:
        await a.create(f"{rig.a}/x", b"owner", WORLD_ALL)
        await until_equal(rig, a, b)
        await b.set_data(f"{rig.b}/x", b"foreign", -1)
        await b.create(f"{rig.b}/y", b"nobody's", WORLD_ALL)
        report = await engine.audit(30)
        assert {d.kind for d in report.subtrees[rig.name].differences} == {"data", "only_b"}
        await until_equal(rig, a, b)
        assert (await engine.audit(30)).equal
        reasons = {line["reason"]: line["loser"]["data"] for line in rig.conflicts()}
        assert reasons == {
            "changed-by-other": "Zm9yZWlnbg==",
            "created-by-other": "bm9ib2R5J3M=",
        }


async def test_write_over_a_foreign_write_records_the_conflict(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b), rig.engine():
        await a.create(f"{rig.a}/x", b"1", WORLD_ALL)
        await until_equal(rig, a, b)
        await b.set_data(f"{rig.b}/x", b"foreign", -1)
        await a.set_data(f"{rig.a}/x", b"2", -1)
        await until_equal(rig, a, b)
        assert [line["reason"] for line in rig.conflicts()] == ["changed-by-other"]


async def test_foreign_child_does_not_keep_a_parent_alive(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b), rig.engine():
        await a.create(f"{rig.a}/x", b"1", WORLD_ALL)
        await until_equal(rig, a, b)
        await b.create(f"{rig.b}/x/foreign", b"", WORLD_ALL)
        await a.delete(f"{rig.a}/x", -1)
        await until_equal(rig, a, b)
        assert [line["reason"] for line in rig.conflicts()] == ["created-by-other"]


async def test_lost_base_deletes_nothing_until_confirmed(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b):
        await a.create(f"{rig.a}/x", b"1", WORLD_ALL)
        await a.create(f"{rig.a}/y", b"1", WORLD_ALL)
        async with rig.engine():
            pass
        for file in rig.state_dir.glob("base.sqlite*"):
            file.unlink()
        await a.delete(f"{rig.a}/y", -1)
        await a.set_data(f"{rig.a}/x", b"2", -1)
        async with rig.engine() as engine:
            assert (await tree(b, rig.b))["/y"][0] == b"1"
            assert (await tree(b, rig.b))["/x"][0] == b"2"
            said = gather(engine)
            assert said.subtrees[rig.name].unowned == 1
            assert any(f"zk-sync confirm {rig.name}" in reason for reason in said.reasons)
            engine.confirm(rig.name)
            await until_equal(rig, a, b)
            await until(lambda: not gather(engine).subtrees[rig.name].unowned, "its answer")


async def test_empty_source_stalls_until_confirmed(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path, delete_count_free=5)
    async with rig.lanes() as (a, b):
        for i in range(20):
            await a.create(f"{rig.a}/n{i}", b"", WORLD_ALL)
        async with rig.engine():
            pass
        for i in range(15):
            await a.delete(f"{rig.a}/n{i}", -1)
        async with rig.engine(live=False) as engine:
            await until(lambda: engine.is_started and worker(engine, rig).stalled, "a stall")
            assert len(await tree(b, rig.b)) == 21
            engine.confirm(rig.name)
            await until_equal(rig, a, b)
            assert len(await tree(b, rig.b)) == 6


async def test_oversize_node_is_put_aside_and_others_go_on(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b), rig.engine() as engine:
        await a.create(f"{rig.a}/large", b"x" * 1_048_400, WORLD_ALL)
        await a.create(f"{rig.a}/half", b"x" * 700_000, WORLD_ALL)
        await a.create(f"{rig.a}/small", b"x", WORLD_ALL)
        await until(lambda: read(b, f"{rig.b}/small"), "small node")
        await until(lambda: read(b, f"{rig.b}/half"), "half node")
        skipped = worker(engine, rig).subtree.counters.skipped
        await until(lambda: "/large" in skipped, "quarantine")
        await a.set_data(f"{rig.a}/large", b"now small", -1)
        await until_equal(rig, a, b)
        assert not skipped


async def test_second_engine_fences_the_first(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path)

    async def run_two() -> None:
        other = {"state_dir": str(tmp_path / "other")}
        async with (
            rig.lanes() as (a, b),
            rig.engine() as first,
            rig.engine(changes=other) as second,
        ):
            assert second.fence.epoch > first.fence.epoch
            await a.create(f"{rig.a}/x", b"1", WORLD_ALL)
            await until_equal(rig, a, b)
            await until(lambda: first.fence.lost, "the fence to be lost")
            await until(lambda: first.is_stopped, "the first engine to stop")

    # The engine ends where it is left, as its process would.
    with pytest.raises(FencedError):
        await run_two()


async def test_a_znode_that_may_no_longer_be_read_is_not_taken_for_deleted(tmp_path: Path) -> None:
    # Servers of its own, since an engine that is nobody special cannot use what a super user left.
    servers = Server(tmp_path / "server-a"), Server(tmp_path / "server-b")
    rig = Rig(servers, tmp_path)
    credentials = tmp_path / "engine-credentials"
    credentials.write_text("engine:password-for-tests")
    credentials.chmod(0o600)
    for side in rig.document["sides"].values():
        side["auth"]["file"] = str(credentials)
    with start_all(*servers):
        async with rig.lanes() as (a, b), rig.engine() as engine:
            await a.create(f"{rig.a}/x", b"1", WORLD_ALL)
            await until_equal(rig, a, b)
            await a.set_acl(f"{rig.a}/x", (Acl(PERM_ALL, "digest", "somebody:hash"),), -1)
            unreadable = worker(engine, rig).subtree.counters.unreadable
            await until(lambda: unreadable == {f"{rig.a}/x"}, "the path is hidden")
            assert await b.exists(f"{rig.b}/x") is not None
            await a.set_acl(f"{rig.a}/x", WORLD_ALL, -1)
            await a.set_data(f"{rig.a}/x", b"2", -1)
            await until_equal(rig, a, b)
            await until(lambda: not unreadable, "nothing is hidden")
