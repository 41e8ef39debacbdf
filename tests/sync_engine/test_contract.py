"""What both real servers and servers in memory do with requests: one suite, run against either.

Whatever the engine relies on, and whatever the state machine makes happen, stands here and in
`test_contract_sessions.py`.
"""

from __future__ import annotations

import pytest

from sync_engine import identity, wire
from sync_engine.errors import (
    BadArgumentsError,
    BadVersionError,
    ConnectionLostError,
    InvalidAclError,
    MultiFailedError,
    NoAuthError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
)
from sync_engine.lane import Lane
from sync_engine.wire import ANY_VERSION, Check, Create, Delete, SetData
from sync_engine.znode import PERM_ALL, PERM_READ, WORLD_ALL, Acl
from tests.sync_engine.bench import Bench, create_sequential, refused
from tests.sync_engine.memory.tree import digest_id
from tests.sync_engine.servers import AUTH, PASSWORD


def test_stat_counts_what_happened_to_a_znode(bench: Bench) -> None:
    async def scenario(bench: Bench, lane: Lane) -> None:
        path = f"{bench.root}/x"
        new = await lane.create(path, b"12", WORLD_ALL)
        assert new is not None
        assert (new.version, new.cversion, new.aversion, new.data_length) == (0, 0, 0, 2)
        assert new.czxid == new.mzxid == new.pzxid
        assert new.ctime == new.mtime
        changed = await lane.set_data(path, b"123", 0)
        assert (changed.version, changed.data_length, changed.czxid) == (1, 3, new.czxid)
        assert changed.mzxid > new.mzxid
        assert changed.pzxid == new.pzxid
        for number in range(3):
            await lane.create(f"{path}/{number}", b"", WORLD_ALL)
        await lane.delete(f"{path}/1", 0)
        names, parent = await lane.children(path)
        assert sorted(names) == ["0", "2"]
        assert (parent.num_children, parent.cversion, parent.creates) == (2, 4, 3)
        assert (parent.version, parent.mzxid) == (1, changed.mzxid)
        assert parent.pzxid > changed.mzxid
        await lane.set_data(f"{path}/0", b"deep", 0)
        assert await lane.exists(path) == parent

    bench.run(scenario)


def test_number_of_a_sequential_child_tells_in_a_transaction_that_none_was_created(
    bench: Bench,
) -> None:
    async def scenario(bench: Bench, lane: Lane) -> None:
        root, path = bench.root, f"{bench.root}/x"
        await lane.create(path, b"seen", WORLD_ALL)
        before = await lane.exists(root)
        assert before is not None
        await lane.delete(path, 0)
        await lane.create(path, b"unseen", WORLD_ALL)
        acl = WORLD_ALL

        def deletion(creates: int) -> list[wire.Op]:
            return [*identity.operations(root, creates, acl), Delete(path, 0)]

        with pytest.raises(MultiFailedError) as caught:
            await lane.multi(deletion(before.creates))
        assert (caught.value.index, caught.value.code) == (1, NoNodeError.code)
        assert (await lane.get(path))[0] == b"unseen"
        again = await lane.exists(root)
        assert again is not None
        assert again.creates == before.creates + 1
        await lane.multi(deletion(again.creates))
        names, after = await lane.children(root)
        assert names == []
        assert after.creates == again.creates + 1

    bench.run(scenario)


def test_null_and_empty_data_differ(bench: Bench) -> None:
    async def scenario(bench: Bench, lane: Lane) -> None:
        path = f"{bench.root}/x"
        await lane.create(path, None, WORLD_ALL)
        assert (await lane.get(path))[0] is None
        await lane.set_data(path, b"", 0)
        assert (await lane.get(path))[0] == b""
        await lane.set_data(path, None, 1)
        node, absent = await lane.read_many([path, f"{path}/absent"])
        assert node is not None
        assert (node.data, node.stat.data_length) == (None, 0)
        assert absent is None

    bench.run(scenario)


def test_what_cannot_be_done_is_refused_by_its_reason(bench: Bench) -> None:
    async def scenario(bench: Bench, lane: Lane) -> None:
        root = bench.root
        await lane.create(f"{root}/x", b"", WORLD_ALL)
        await lane.create(f"{root}/x/y", b"", WORLD_ALL)
        await lane.create(f"{root}/e", b"", WORLD_ALL, ephemeral=True)
        assert await refused(lane.create(f"{root}/no/x", b"", WORLD_ALL)) is NoNodeError
        assert await refused(lane.create(f"{root}/x", b"", WORLD_ALL)) is NodeExistsError
        child = lane.create(f"{root}/e/x", b"", WORLD_ALL)
        assert await refused(child) is NoChildrenForEphemeralsError
        assert await refused(lane.create(f"{root}/z/", b"", WORLD_ALL)) is NoNodeError
        assert await refused(lane.create(f"{root}/x/", b"", WORLD_ALL)) is BadArgumentsError
        assert await refused(lane.set_data(f"{root}/no", b"", 0)) is NoNodeError
        assert await refused(lane.set_data(f"{root}/x", b"", 1)) is BadVersionError
        assert await refused(lane.delete(f"{root}/no", 0)) is NoNodeError
        assert await refused(lane.delete(f"{root}/x", ANY_VERSION)) is NotEmptyError
        # The version is looked at before the children are.
        assert await refused(lane.delete(f"{root}/x", 7)) is BadVersionError
        assert await refused(lane.delete("/", ANY_VERSION)) is BadArgumentsError
        assert await refused(lane.set_acl(f"{root}/no", WORLD_ALL, 0)) is NoNodeError
        assert await refused(lane.set_acl(f"{root}/x", WORLD_ALL, 1)) is BadVersionError
        assert await refused(lane.get(f"{root}/no")) is NoNodeError
        assert await refused(lane.children(f"{root}/no")) is NoNodeError
        assert await lane.exists(f"{root}/no") is None

    bench.run(scenario)


@pytest.mark.parametrize(
    "acl",
    [
        (),
        (Acl(PERM_ALL, "world", "somebody"),),
        (Acl(PERM_ALL, "digest", "user"),),
        (Acl(PERM_ALL, "nonsense", "x"),),
    ],
)
def test_acl_that_is_none_is_refused(bench: Bench, acl: tuple[Acl, ...]) -> None:
    async def scenario(bench: Bench, lane: Lane) -> None:
        assert await refused(lane.create(f"{bench.root}/x", b"", acl)) is InvalidAclError
        assert await refused(lane.set_acl(bench.root, acl, 0)) is InvalidAclError

    bench.run(scenario)


_REFUSED_NAMES = (
    *("", ".", "..", "a/../b", "\0", "\x01", "\x1f", "\x7f", "\x9f", "\ue000", "\uf8ff"),
    *("\ufff0", "\uffff", "\U00010000", "\U0001f993"),
)
_TAKEN_NAMES = (" ", "..a", "...", "\x7e", "\xa0", "\ud7ff", "\uf900", "\uffef", "é")


def test_names_are_those_that_paths_may_have(bench: Bench) -> None:
    async def scenario(bench: Bench, lane: Lane) -> None:
        root = bench.root
        for parent in ("a", "a/.."):
            # Of a path below what is not there, that is told, but for a null.
            below = lane.create(f"{root}/no/{parent}", b"", WORLD_ALL)
            assert await refused(below) is NoNodeError, parent
        for name in _REFUSED_NAMES:
            wanted = NoNodeError if name == "a/../b" else BadArgumentsError
            create = lane.create(f"{root}/{name}", b"", WORLD_ALL)
            assert await refused(create) is wanted, ascii(name)
        for name in _TAKEN_NAMES:
            await lane.create(f"{root}/{name}", b"", WORLD_ALL)
        assert sorted((await lane.children(root))[0]) == sorted(_TAKEN_NAMES)

    bench.run(scenario)


def test_change_of_an_acl_moves_its_aversion_alone(bench: Bench) -> None:
    async def scenario(bench: Bench, lane: Lane) -> None:
        before = await lane.exists(bench.root)
        assert before is not None
        acl = (Acl(PERM_ALL, "digest", "user:hash="), Acl(PERM_READ, "world", "anyone"))
        after = await lane.set_acl(bench.root, acl, 0)
        assert after.aversion == 1
        assert (after.mzxid, after.pzxid, after.version) == (
            before.mzxid,
            before.pzxid,
            before.version,
        )
        assert await lane.get_acl(bench.root) == (acl, after)
        twice = await lane.set_acl(bench.root, (*acl, acl[0]), ANY_VERSION)
        assert twice.aversion == 2
        assert (await lane.get_acl(bench.root))[0] == acl

    bench.run(scenario)


def test_own_acl_is_kept_as_what_its_writer_is(bench: Bench) -> None:
    async def scenario(bench: Bench, lane: Lane) -> None:
        path = f"{bench.root}/x"
        await lane.create(path, b"", (Acl(PERM_ALL, "auth", ""),))
        kept = (Acl(PERM_ALL, "digest", digest_id(PASSWORD.encode())),)
        assert (await lane.get_acl(path))[0] == kept
        async with bench.lane(auth=()) as nobody:
            own = nobody.create(f"{bench.root}/y", b"", (Acl(PERM_ALL, "auth", ""),))
            assert await refused(own) is InvalidAclError

    bench.run(scenario)


def test_acl_keeps_strangers_out(bench: Bench) -> None:
    async def scenario(bench: Bench, lane: Lane) -> None:
        path = f"{bench.root}/x"
        readable = (Acl(PERM_ALL, "digest", "user:hash="), Acl(PERM_READ, "world", "anyone"))
        await lane.create(path, b"", readable)
        await lane.create(f"{path}/closed", b"", readable[:1])
        async with bench.lane(auth=()) as stranger:
            assert (await stranger.get(path))[0] == b""
            assert await refused(stranger.exists(f"{path}/closed")) is NoAuthError
            assert await stranger.exists(f"{path}/closed/missing") is None
            assert await refused(stranger.get(f"{path}/closed")) is NoAuthError
            assert await refused(stranger.get_acl(f"{path}/closed")) is NoAuthError
            assert await refused(stranger.read(f"{path}/closed")) is NoAuthError
            assert await refused(stranger.set_data(path, b"", 0)) is NoAuthError
            assert await refused(stranger.create(f"{path}/y", b"", WORLD_ALL)) is NoAuthError
            assert await refused(stranger.delete(f"{path}/closed", 0)) is NoAuthError
            assert await refused(stranger.set_acl(path, WORLD_ALL, 0)) is NoAuthError
            shown = (await stranger.get_acl(path))[0]
            assert shown == (Acl(PERM_ALL, "digest", "user:x"), readable[1])
        async with bench.lane(auth=[("digest", b"me:mine")]) as owner:
            mine = (Acl(PERM_ALL, "digest", digest_id(b"me:mine")),)
            await lane.create(f"{bench.root}/mine", b"", mine)
            await owner.set_data(f"{bench.root}/mine", b"x", 0)
            assert (await owner.get_acl(f"{bench.root}/mine"))[0] == mine

    bench.run(scenario)


def test_multi_does_all_under_one_zxid(bench: Bench) -> None:
    async def scenario(bench: Bench, lane: Lane) -> None:
        root = bench.root
        await lane.create(f"{root}/old", b"", WORLD_ALL)
        done = await lane.multi(
            [
                Check(root, 0),
                Create(f"{root}/x", b"1", WORLD_ALL),
                SetData(f"{root}/x", b"2", 0),
                SetData(f"{root}/x", b"3", 1),
                Create(f"{root}/x/y", b"", WORLD_ALL),
                Delete(f"{root}/old", 0),
                Create(f"{root}/old", b"again", WORLD_ALL),
                SetData(root, b"root", 0),
            ]
        )
        found = [stat and (stat.version, stat.mzxid == done.zxid) for stat in done.stats]
        assert found == [
            None, (0, True), (1, True), (2, True), (0, True), None, (0, True), (1, True)
        ]  # fmt: skip
        x = await lane.exists(f"{root}/x")
        assert x is not None
        assert (x.version, x.num_children, x.czxid, x.pzxid) == (2, 1, done.zxid, done.zxid)
        parent = await lane.exists(root)
        assert parent is not None
        assert (parent.creates, parent.num_children) == (3, 2)

    bench.run(scenario)


@pytest.mark.parametrize(
    ("last", "code"),
    [
        (Check("/x", 7), BadVersionError.code),
        (Check("/absent", 0), NoNodeError.code),
        (SetData("/x", b"", 7), BadVersionError.code),
        (Create("/x", b"", WORLD_ALL), NodeExistsError.code),
        (Create("/absent/x", b"", WORLD_ALL), NoNodeError.code),
        (Create("/z", b"", ()), InvalidAclError.code),
        (Delete("/x", ANY_VERSION), NotEmptyError.code),
        (Delete("/absent", 0), NoNodeError.code),
    ],
)
def test_multi_that_fails_does_nothing_and_names_the_first_reason(
    bench: Bench, last: wire.Op, code: int
) -> None:
    def below(op: wire.Op, root: str) -> wire.Op:
        match op:
            case Create():
                return Create(root + op.path, op.data, op.acl)
            case SetData():
                return SetData(root + op.path, op.data, op.version)
            case Delete():
                return Delete(root + op.path, op.version)
            case Check():
                return Check(root + op.path, op.version)

    async def scenario(bench: Bench, lane: Lane) -> None:
        root = bench.root
        await lane.create(f"{root}/x", b"", WORLD_ALL)
        await lane.create(f"{root}/x/y", b"", WORLD_ALL)
        before = await lane.exists(root), await lane.exists(f"{root}/x")
        ops = [
            Create(f"{root}/new", b"", WORLD_ALL),
            SetData(f"{root}/x", b"new", 0),
            Delete(f"{root}/new", 0),
            below(last, root),
            Create(f"{root}/later", b"", WORLD_ALL),
        ]
        with pytest.raises(MultiFailedError) as caught:
            await lane.multi(ops)
        assert (caught.value.index, caught.value.code) == (3, code)
        assert caught.value.codes == [0, 0, 0, code, -2]
        assert (await lane.exists(root), await lane.exists(f"{root}/x")) == before
        assert (await lane.get(f"{root}/x"))[0] == b""

    bench.run(scenario)


def test_sequence_goes_on_by_what_was_ever_created(bench: Bench) -> None:
    async def scenario(bench: Bench, lane: Lane) -> None:
        root = bench.root
        assert await create_sequential(lane, f"{root}/n-") == f"{root}/n-0000000000"
        await lane.create(f"{root}/plain", b"", WORLD_ALL)
        await lane.delete(f"{root}/plain", 0)
        assert await create_sequential(lane, f"{root}/m-") == f"{root}/m-0000000002"
        await lane.delete(f"{root}/m-0000000002", 0)
        # Four were created when the next is asked for; a name that is taken is not skipped.
        await lane.create(f"{root}/n-0000000004", b"", WORLD_ALL)
        assert await refused(create_sequential(lane, f"{root}/n-")) is NodeExistsError
        assert await refused(create_sequential(lane, f"{root}/n-")) is NodeExistsError
        assert await create_sequential(lane, f"{root}/other-") == f"{root}/other-0000000004"
        await lane.multi([Create(f"{root}/pad", None, WORLD_ALL), Delete(f"{root}/pad", -1)])
        assert await create_sequential(lane, f"{root}/n-") == f"{root}/n-0000000006"
        stat = await lane.exists(root)
        assert stat is not None
        assert stat.creates == 7

    bench.run(scenario)


def test_server_behind_its_client_refuses_it(bench: Bench) -> None:
    async def scenario(bench: Bench, lane: Lane) -> None:
        ahead = Lane(bench.hosts, AUTH, session_timeout_s=5)
        ahead._zxid = 1 << 60  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - a past
        with pytest.raises(ConnectionLostError):
            await ahead.start(bound_s=0.5)

    bench.run(scenario)


def test_request_that_is_too_large_costs_the_connection(bench: Bench) -> None:
    async def scenario(bench: Bench, lane: Lane) -> None:
        generous = Lane(bench.hosts, AUTH, session_timeout_s=5, request_bytes_max=10_000_000)
        await generous.start()
        try:
            with pytest.raises(ConnectionLostError) as caught:
                await generous.create(f"{bench.root}/x", bytes(1_100_000), WORLD_ALL)
            assert caught.value.sent
            assert await generous.exists(f"{bench.root}/x") is None
        finally:
            await generous.close()

    bench.run(scenario)


def test_scan_finds_every_znode_parents_first(bench: Bench) -> None:
    async def scenario(bench: Bench, lane: Lane) -> None:
        root = bench.root
        paths = [f"{root}/{a}" for a in "abc"] + [f"{root}/{a}/{n}" for a in "abc" for n in "12"]
        await lane.multi([Create(path, path.encode(), WORLD_ALL) for path in paths])
        seen: list[str] = []
        async for nodes in lane.scan(root):
            for node in nodes:
                assert node.path == root or node.path.rpartition("/")[0] in seen
                seen.append(node.path)
        assert sorted(seen) == sorted([root, *paths])

    bench.run(scenario)
