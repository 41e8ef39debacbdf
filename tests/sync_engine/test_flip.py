"""Change of owner between two real servers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sync_engine import padding
from sync_engine.acl_fence import is_fenced
from sync_engine.direction import Side
from sync_engine.errors import EngineRefusedError, NoAuthError
from sync_engine.flip import Flip
from sync_engine.lane import Lane
from sync_engine.znode import PERM_ALL, PERM_READ, WORLD_ALL, Acl
from tests.sync_engine.rig import Rig, raise_zxid, read, tree, until_equal, worker
from tests.sync_engine.servers import Server

_RESTRICTED = (Acl(PERM_ALL, "digest", "user:hash="), Acl(PERM_READ, "world", "anyone"))
Pair = tuple[Server, Server]


async def fill(a: Lane, rig: Rig) -> None:
    await a.create(f"{rig.a}/apps", b"", WORLD_ALL)
    for i in range(20):
        await a.create(f"{rig.a}/apps/n{i}", str(i).encode(), _RESTRICTED if i % 2 else WORLD_ALL)


async def client_of(rig: Rig, side: Side) -> Lane:
    """A client without credentials."""
    lane = Lane(rig.servers[side].hosts, session_timeout_s=5)
    await lane.start()
    return lane


async def test_flip_forth_and_back_keeps_everything_and_fences_the_old_side(
    pair: Pair, tmp_path: Path
) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b), rig.engine() as engine:
        await fill(a, rig)
        await until_equal(rig, a, b)
        original = await tree(a, rig.a)
        await raise_zxid(b, a, rig.election)

        report = await engine.flip(rig.name, Side.B, 30)
        assert (report.from_side, report.to_side, report.already_done) == (Side.A, Side.B, False)
        assert report.zxid_b > report.zxid_a
        assert all(is_fenced(acl) for _, acl in (await tree(a, rig.a)).values())
        assert await tree(b, rig.b) == original
        assert (await engine.flip(rig.name, Side.B, 30)).already_done
        client = await client_of(rig, Side.A)
        try:
            with pytest.raises(NoAuthError):
                await client.set_data(f"{rig.a}/apps/n0", b"stray", -1)
            with pytest.raises(NoAuthError):
                await client.create(f"{rig.a}/apps/stray", b"", WORLD_ALL)
            with pytest.raises(NoAuthError):
                await client.delete(f"{rig.a}/apps/n0", -1)
            assert (await client.get(f"{rig.a}/apps/n0"))[0] == b"0"
        finally:
            await client.close()

        # Changes go the other way now, and what is new there is fenced too.
        await b.set_data(f"{rig.b}/apps/n0", b"changed on b", -1)
        await b.create(f"{rig.b}/apps/new", b"new", WORLD_ALL)
        await b.set_acl(f"{rig.b}/apps/n2", _RESTRICTED, -1)
        await b.delete(f"{rig.b}/apps/n4", -1)
        audit = await engine.audit(30)
        assert audit.equal, audit
        copy = await read(a, f"{rig.a}/apps/new")
        assert copy is not None
        assert is_fenced(copy.acl)
        original = await tree(b, rig.b)

        await raise_zxid(a, b, rig.election)
        await engine.flip(rig.name, Side.A, 30)
        assert await tree(a, rig.a) == original
        assert all(is_fenced(acl) for _, acl in (await tree(b, rig.b)).values())
        assert engine.conflicts.count == 0
        doc = worker(engine, rig).subtree.doc
        assert (doc.owner, doc.fenced_a, doc.fenced_b) == (Side.A, False, True)


async def test_sequence_numbers_go_on_where_they_stood(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b), rig.engine() as engine:
        await a.create(f"{rig.a}/queue", b"", WORLD_ALL)
        for i in range(700):
            await a.create(f"{rig.a}/queue/item-{i:010d}", b"", WORLD_ALL)
            if i < 690:
                await a.delete(f"{rig.a}/queue/item-{i:010d}", -1)
        await until_equal(rig, a, b)
        await raise_zxid(b, a, rig.election)
        report = await engine.flip(rig.name, Side.B, 30)
        assert report.padded >= 1
        counters = [
            (await lane.children(f"{path}/queue"))[1].creates
            for lane, path in ((a, rig.a), (b, rig.b))
        ]
        assert counters[1] >= counters[0] == 700
        assert await padding.find_behind(worker(engine, rig).subtree, Side.B) == []
        assert sorted(await tree(b, rig.b)) == sorted(await tree(a, rig.a))


async def test_flip_is_refused_while_a_client_holds_an_ephemeral(
    pair: Pair, tmp_path: Path
) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b), rig.engine() as engine:
        await a.create(f"{rig.a}/lock", b"", WORLD_ALL, ephemeral=True)
        await raise_zxid(b, a, rig.election)
        with pytest.raises(EngineRefusedError, match=f"{rig.a}/lock") as caught:
            await engine.flip(rig.name, Side.B, 2)
        assert caught.value.type == "EphemeralsPresent"
        assert not any(is_fenced(acl) for _, acl in (await tree(a, rig.a)).values())
        assert worker(engine, rig).subtree.owner is Side.A


async def test_flip_is_refused_when_the_new_sides_zxid_is_behind(
    pair: Pair, tmp_path: Path
) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b), rig.engine() as engine:
        await fill(a, rig)
        await raise_zxid(a, b, rig.election)
        with pytest.raises(EngineRefusedError) as caught:
            await engine.flip(rig.name, Side.B, 10)
        assert caught.value.type == "ZxidBehind"
        assert not any(is_fenced(acl) for _, acl in (await tree(a, rig.a)).values())


@pytest.mark.parametrize("step", ["_fence", "_check_zxids", "_save", "_equalise"])
async def test_flip_that_is_cut_off_leaves_one_owner_and_is_finished_by_calling_again(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b):
        async with rig.engine() as engine:
            await fill(a, rig)
            await until_equal(rig, a, b)
            await raise_zxid(b, a, rig.election)
            original, real, calls = await tree(a, rig.a), getattr(Flip, step), 0

            async def cut_off(self: Flip, *args: object, **options: object) -> object:
                nonlocal calls
                calls += 1
                result = await real(self, *args, **options)
                if calls == (1 if step == "_fence" else 2):
                    raise asyncio.CancelledError
                return result

            monkeypatch.setattr(Flip, step, cut_off)
            flipping = asyncio.create_task(engine.flip(rig.name, Side.B, 30))
            with pytest.raises(asyncio.CancelledError):
                await flipping
            monkeypatch.undo()
        async with rig.engine() as engine:
            owner = worker(engine, rig).subtree.owner
            assert owner is (Side.B if step == "_save" else Side.A)
            report = await engine.flip(rig.name, Side.B, 30)
            assert report.already_done is (step == "_save")
            assert all(is_fenced(acl) for _, acl in (await tree(a, rig.a)).values())
            assert await tree(b, rig.b) == original
            assert engine.conflicts.count == 0
            assert (await engine.audit(30)).equal


async def test_flip_to_the_owner_takes_back_a_flip_that_was_given_up(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b), rig.engine() as engine:
        await fill(a, rig)
        await until_equal(rig, a, b)
        await raise_zxid(b, a, rig.election)
        original, real = await tree(a, rig.a), getattr(Flip, "_fence")  # noqa: B009 - private

        async def cut_off(self: Flip, side: Side) -> None:
            await real(self, side)
            raise asyncio.CancelledError

        monkeypatch.setattr(Flip, "_fence", cut_off)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(engine.flip(rig.name, Side.B, 30))
        monkeypatch.undo()
        assert worker(engine, rig).subtree.doc.fenced_a
        report = await engine.flip(rig.name, Side.A, 30)
        assert report.already_done
        assert await tree(a, rig.a) == original
        assert not worker(engine, rig).subtree.doc.fenced_a
