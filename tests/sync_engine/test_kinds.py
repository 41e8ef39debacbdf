"""Znodes that are not plain persistent ones: containers, TTLs, and ephemerals of the engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_engine import wire
from sync_engine.lane import Lane
from sync_engine.wire import Create, OpCode
from sync_engine.znode import WORLD_ALL, NodeKind
from tests.sync_engine.rig import read, until, until_equal, worker
from tests.sync_engine.servers import AUTH, Server, start_all
from tests.sync_engine.test_two_way import rig_of
from tests.waiting import BOUND_S

Pair = tuple[Server, Server]


@pytest.fixture(scope="module")
def quick_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two servers that look for expired containers and TTL znodes all the time."""
    option = "-Dznode.container.checkIntervalMs=200"
    a, b = (Server(tmp_path_factory.mktemp(name), java_options=option) for name in ("a", "b"))
    with start_all(a, b):
        yield a, b


def test_kinds_have_requests_of_their_own() -> None:
    container = Create("/c", None, WORLD_ALL, kind=NodeKind(is_container=True))
    with_ttl = Create("/t", None, WORLD_ALL, kind=NodeKind(ttl_ms=7))
    assert wire.create_code(container) is OpCode.CREATE_CONTAINER
    assert wire.create_body(container).endswith(b"\0\0\0\4")
    assert wire.create_code(with_ttl) is OpCode.CREATE_TTL
    assert wire.create_body(with_ttl).endswith(b"\0\0\0\5" + b"\0" * 7 + b"\7")
    assert wire.create_code(Create("/p", None, WORLD_ALL)) is OpCode.CREATE2


async def test_containers_and_ttls_are_created_by_rule(quick_pair: Pair, tmp_path: Path) -> None:
    rule = {"containers": ["/c*"], "ttl": [{"match": "/t", "ttl_ms": 300}]}
    rig = rig_of(quick_pair, tmp_path, rule)
    async with rig.lanes() as (a, b):
        await a.create(f"{rig.a}/c", None, WORLD_ALL)
        await a.create(f"{rig.a}/c/x", b"", WORLD_ALL)
        await a.create(f"{rig.a}/t", b"", WORLD_ALL)
        await a.create(f"{rig.a}/plain", b"", WORLD_ALL)
        async with rig.engine() as engine:
            await until(lambda: b.exists(f"{rig.b}/c/x"), "the copy", BOUND_S)
            container = await read(b, f"{rig.b}/c")
            assert container is not None
            assert container.data is None
            await until(lambda: _is_gone(b, f"{rig.b}/t"), "the end of the TTL", BOUND_S)
            await a.delete(f"{rig.a}/c/x", -1)
            await until(lambda: _is_gone(b, f"{rig.b}/c"), "the end of the container", BOUND_S)
            # What a server ended by itself comes back when its original changes: no conflict.
            await a.create(f"{rig.a}/c/y", b"", WORLD_ALL)
            await until(lambda: b.exists(f"{rig.b}/c/y"), "the copy again", BOUND_S)
            assert await b.exists(f"{rig.b}/plain") is not None
            assert engine.conflicts.count == 0, rig.conflicts()


async def test_ephemerals_are_copied_as_the_engines_own(pair: Pair, tmp_path: Path) -> None:
    rig = rig_of(pair, tmp_path, {"ephemerals": "own"})
    async with rig.lanes() as (a, b):
        await a.create(f"{rig.a}/group", b"", WORLD_ALL)
        client = Lane(pair[0].hosts, AUTH, session_timeout_s=5)
        await client.start()
        await client.create(f"{rig.a}/group/one", b"1", WORLD_ALL, ephemeral=True)
        async with rig.engine() as engine:
            copier = engine.copiers[rig.name]
            await until(lambda: b.exists(f"{rig.b}/group/one"), "the copy", BOUND_S)
            copy = await read(b, f"{rig.b}/group/one")
            assert copy is not None
            assert copy.stat.ephemeral_owner == copier.session_id
            await client.create(f"{rig.a}/group/two", None, WORLD_ALL, ephemeral=True)
            await client.set_data(f"{rig.a}/group/one", b"2", -1)
            numbered = f"{rig.a}/group/n0000000000"
            await client.create(numbered, b"", WORLD_ALL, ephemeral=True)
            await until(lambda: b.exists(f"{rig.b}/group/two"), "the second copy", BOUND_S)
            await until(lambda: _has(b, f"{rig.b}/group/one", b"2"), "the change", BOUND_S)
            skipped = worker(engine, rig).subtree.counters.skipped
            assert skipped == {"/group/n0000000000": "sequential-ephemeral"}
            assert copier.session_id in engine.session_ids()
            assert (await engine.audit(30)).equal
            await client.close()
            await until(lambda: _is_gone(b, f"{rig.b}/group/one"), "the end", BOUND_S)
            await until(lambda: _is_gone(b, f"{rig.b}/group/two"), "the end", BOUND_S)
            await until_equal(rig, a, b)


async def test_engines_ephemerals_outlive_its_death(pair: Pair, tmp_path: Path) -> None:
    rig = rig_of(pair, tmp_path, {"ephemerals": "own"})
    async with rig.lanes() as (a, b):
        await a.create(f"{rig.a}/one", b"1", WORLD_ALL, ephemeral=True)
        async with rig.client() as client:
            process = rig.start()
            try:
                await rig.await_live(process, client)
                await until(lambda: b.exists(f"{rig.b}/one"), "the copy", BOUND_S)
            finally:
                process.kill()
                process.wait()
        before = await read(b, f"{rig.b}/one")
        assert before is not None
        async with rig.process():
            await a.set_data(f"{rig.a}/one", b"2", -1)
            await until(lambda: _has(b, f"{rig.b}/one", b"2"), "the change", BOUND_S)
        after = await read(b, f"{rig.b}/one")
        assert after is not None
        assert (after.stat.czxid, after.stat.ephemeral_owner) == (
            before.stat.czxid,
            before.stat.ephemeral_owner,
        )


async def _is_gone(lane: Lane, path: str) -> bool:
    await lane.sync(path)
    return await lane.exists(path) is None


async def _has(lane: Lane, path: str, data: bytes) -> bool:
    node = await read(lane, path)
    return node is not None and node.data == data
