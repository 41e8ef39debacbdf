"""Requests of the bulk lane to real ZooKeeper servers."""

from __future__ import annotations

import asyncio

import pytest

from sync_engine import wire
from sync_engine.errors import (
    BadVersionError,
    ConnectionLostError,
    MultiFailedError,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RequestTooLargeError,
)
from sync_engine.lane import Lane
from sync_engine.wire import Check, Create, Delete, SetData
from sync_engine.znode import PERM_READ, WORLD_ALL, Acl, Znode
from tests.sync_engine.servers import AUTH


async def test_a_znode_is_created_read_set_and_deleted(lane: Lane, root: str) -> None:
    path = f"{root}/node"
    created = await lane.create(path, b"one", WORLD_ALL)
    assert created is not None
    assert await lane.get(path) == (b"one", created)
    changed = await lane.set_data(path, b"two", 0)
    assert (changed.version, changed.czxid) == (1, created.czxid)
    assert await lane.exists(path) == changed
    assert lane.last_zxid >= changed.mzxid
    await lane.delete(path, 1)
    assert await lane.exists(path) is None


async def test_errors_are_typed_and_name_the_path(lane: Lane, root: str) -> None:
    with pytest.raises(NoNodeError, match=f"{root}/missing"):
        await lane.get(f"{root}/missing")
    with pytest.raises(NodeExistsError):
        await lane.create(root, None, WORLD_ALL)
    with pytest.raises(BadVersionError) as caught:
        await lane.set_data(root, b"", 7)
    assert caught.value.code == -103
    await lane.create(f"{root}/child", None, WORLD_ALL)
    with pytest.raises(NotEmptyError):
        await lane.delete(root, wire.ANY_VERSION)


async def test_null_and_empty_data_stay_apart(lane: Lane, root: str) -> None:
    await lane.create(f"{root}/null", None, WORLD_ALL)
    await lane.create(f"{root}/empty", b"", WORLD_ALL)
    assert (await lane.get(f"{root}/null"))[0] is None
    assert (await lane.get(f"{root}/empty"))[0] == b""
    null, empty = await lane.read_many([f"{root}/null", f"{root}/empty"])
    assert null is not None
    assert empty is not None
    assert (null.data, empty.data) == (None, b"")
    await lane.set_data(f"{root}/empty", None, 0)
    assert (await lane.get(f"{root}/empty"))[0] is None


async def test_an_acl_is_written_at_its_aversion(lane: Lane, root: str) -> None:
    acl = (Acl(PERM_READ, "world", "anyone"), Acl(31, "digest", "me:hash"))
    stat = await lane.set_acl(root, acl, 0)
    assert stat.aversion == 1
    assert await lane.get_acl(root) == (acl, stat)
    with pytest.raises(BadVersionError):
        await lane.set_acl(root, WORLD_ALL, 0)


async def test_an_acl_keeps_others_out_and_hides_its_digest(
    lane: Lane, root: str, zookeeper: str
) -> None:
    await lane.set_acl(root, (Acl(PERM_READ, "world", "anyone"), Acl(31, "digest", "me:hash")), 0)
    stranger = Lane(zookeeper, session_timeout_s=5)
    await stranger.start()
    try:
        with pytest.raises(NoAuthError):
            await stranger.create(f"{root}/child", None, WORLD_ALL)
        acl, _ = await stranger.get_acl(root)
        assert [entry.is_masked for entry in acl] == [False, True]
    finally:
        await stranger.close()


async def test_a_multi_applies_all_under_one_zxid(lane: Lane, root: str) -> None:
    await lane.create(f"{root}/old", b"", WORLD_ALL)
    result = await lane.multi(
        [
            Check(root, 0),
            Create(f"{root}/new", b"x", WORLD_ALL),
            SetData(root, b"y", 0),
            Delete(f"{root}/old", 0),
        ]
    )
    checked, created, changed, deleted = result.stats
    assert (checked, deleted) == (None, None)
    assert created is not None
    assert changed is not None
    assert created.czxid == changed.mzxid == result.zxid
    assert (await lane.children(root))[0] == ["new"]


async def test_a_failed_multi_applies_nothing_and_tells_which(lane: Lane, root: str) -> None:
    with pytest.raises(MultiFailedError) as caught:
        await lane.multi(
            [Create(f"{root}/a", b"", WORLD_ALL), Check(root, 9), SetData(root, b"", 0)]
        )
    assert (caught.value.index, caught.value.code) == (1, BadVersionError.code)
    assert caught.value.codes == [0, -103, -2]
    assert (await lane.children(root))[0] == []


async def test_an_empty_multi_is_answered(lane: Lane) -> None:
    assert (await lane.multi([])).stats == []


async def test_an_ephemeral_ends_with_its_session(lane: Lane, root: str, zookeeper: str) -> None:
    other = Lane(zookeeper, AUTH, session_timeout_s=5)
    await other.start()
    stat = await other.create(f"{root}/mine", b"", WORLD_ALL, ephemeral=True)
    assert stat is not None
    assert stat.ephemeral_owner == other.session_id
    await other.close()
    await lane.sync()
    assert await lane.exists(f"{root}/mine") is None


async def test_a_session_goes_on_in_another_lane(lane: Lane, root: str, zookeeper: str) -> None:
    first = Lane(zookeeper, AUTH, session_timeout_s=5)
    await first.start()
    await first.create(f"{root}/mine", b"", WORLD_ALL, ephemeral=True)
    saved = first.saved
    await first.close(keep_session=True)
    second = Lane(zookeeper, AUTH, session_timeout_s=5, saved=saved)
    await second.start()
    try:
        assert second.session_id == saved.id
        assert await second.exists(f"{root}/mine") is not None
    finally:
        await second.close()


async def test_unicode_names_and_many_children_are_read(lane: Lane, root: str) -> None:
    names = {f"{index:05}-ключ-" + "x" * 40 for index in range(20_000)}
    ordered = sorted(names)
    for start in range(0, len(ordered), 1000):
        await lane.multi(
            [Create(f"{root}/{name}", None, WORLD_ALL) for name in ordered[start : start + 1000]]
        )
    found, stat = await lane.children(root)
    assert set(found) == names
    assert stat.creates == 20_000


async def test_a_scan_yields_parents_first_and_every_znode(lane: Lane, root: str) -> None:
    expected = {root}
    ops: list[wire.Op] = []
    for top in range(20):
        for path in [f"{root}/{top}", *(f"{root}/{top}/{index}" for index in range(30))]:
            ops.append(Create(path, path.encode(), WORLD_ALL))
            expected.add(path)
    await lane.multi(ops)
    await lane.create(f"{root}/0/ephemeral", b"", WORLD_ALL, ephemeral=True)
    seen: dict[str, Znode] = {}
    async for batch in lane.scan(root):
        for znode in batch:
            assert znode.path == root or znode.path.rpartition("/")[0] in seen
            seen[znode.path] = znode
    assert set(seen) == expected | {f"{root}/0/ephemeral"}
    assert seen[f"{root}/7/7"].data == f"{root}/7/7".encode()
    assert [batch async for batch in lane.scan(f"{root}/missing")] == []


async def test_a_scan_left_early_leaves_nothing_behind(lane: Lane, root: str) -> None:
    await lane.multi([Create(f"{root}/{index}", b"", WORLD_ALL) for index in range(500)])
    scan = lane.scan(root)
    await anext(scan)
    await scan.aclose()
    await lane.sync()


async def test_a_scan_reports_what_it_may_not_read(lane: Lane, root: str, zookeeper: str) -> None:
    await lane.create(f"{root}/closed", b"", (Acl(31, "digest", "me:hash"),))
    await lane.create(f"{root}/open", b"", WORLD_ALL)
    stranger = Lane(zookeeper, session_timeout_s=5)
    await stranger.start()
    unreadable: list[str] = []
    try:
        seen = [
            z.path async for b in stranger.scan(root, on_unreadable=unreadable.append) for z in b
        ]
        with pytest.raises(NoAuthError):
            _ = [batch async for batch in stranger.scan(root)]
    finally:
        await stranger.close()
    assert (seen, unreadable) == ([root, f"{root}/open"], [f"{root}/closed"])


async def test_data_and_acl_are_of_one_moment(lane: Lane, root: str, zookeeper: str) -> None:
    # The writer changes ACL and data in turn; the data says which ACL it was written under.
    path = f"{root}/hot"
    acls = [(Acl(31, "digest", f"u{index}:h"),) for index in range(2)]
    writer = Lane(zookeeper, AUTH, session_timeout_s=5)
    await writer.start()
    await writer.create(path, b"0", acls[0])

    async def write() -> None:
        for index in range(1, 400):
            await writer.delete(path, -1)
            await writer.create(path, str(index % 2).encode(), acls[index % 2])

    writing = asyncio.create_task(write())
    try:
        while not writing.done():
            znode = await lane.read(path)
            if znode is not None:
                assert znode.acl == acls[int(znode.data or b"")]
        await writing
    finally:
        await writer.close()


async def test_an_oversize_request_is_refused_before_it_is_sent(lane: Lane, root: str) -> None:
    with pytest.raises(RequestTooLargeError, match=root) as caught:
        await lane.create(f"{root}/large", bytes(1_100_000), WORLD_ALL)
    assert not caught.value.retryable
    await lane.create(f"{root}/large", bytes(1_000_000), WORLD_ALL)
    znode = await lane.read(f"{root}/large")
    assert znode is not None
    assert znode.stat.data_length == 1_000_000


async def test_a_request_too_large_for_the_server_fails_once(root: str, zookeeper: str) -> None:
    generous = Lane(zookeeper, AUTH, session_timeout_s=5, request_bytes_max=10_000_000)
    await generous.start()
    try:
        with pytest.raises(ConnectionLostError) as caught:
            await generous.create(f"{root}/large", bytes(1_100_000), WORLD_ALL)
        assert caught.value.sent
        assert await generous.exists(root) is not None
    finally:
        await generous.close()


async def test_many_tasks_share_the_lane_within_its_bound(lane: Lane, root: str) -> None:
    await asyncio.gather(
        *(lane.create(f"{root}/{index}", str(index).encode(), WORLD_ALL) for index in range(3000))
    )
    znodes = await lane.read_many([f"{root}/{index}" for index in range(3001)])
    assert [znode and znode.data for znode in znodes] == [
        *(str(index).encode() for index in range(3000)),
        None,
    ]


async def test_a_cancelled_request_does_not_confuse_the_next(lane: Lane, root: str) -> None:
    asked = [asyncio.ensure_future(lane.get(root)) for _ in range(10)]
    # The tasks begin.
    await asyncio.sleep(0)
    asked[3].cancel()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [isinstance(outcome, BaseException) for outcome in outcomes].count(True) == 1
    assert (await lane.get(root))[0] is None


async def test_a_sync_tells_what_was_reached_and_waits_for_more(lane: Lane, root: str) -> None:
    stat = await lane.set_data(root, b"x", -1)
    assert await lane.sync(root) >= stat.mzxid
    assert await lane.sync(root, upto=stat.mzxid) >= stat.mzxid

    waiting = asyncio.create_task(lane.sync(root, upto=stat.mzxid + 2))
    done, _ = await asyncio.wait({waiting}, timeout=0.05)
    assert not done
    for _ in range(2):
        stat = await lane.set_data(root, b"y", -1)
    assert await waiting == stat.mzxid
