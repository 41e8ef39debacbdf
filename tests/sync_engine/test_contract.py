"""What both real servers and servers in memory do: one suite, run against either.

Whatever the engine relies on, and whatever the state machine makes happen, stands here.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

import pytest

from sync_engine import wire
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
    ZkError,
)
from sync_engine.lane import Lane
from sync_engine.session import LaneState, SavedSession
from sync_engine.watch import EventKind, WatchEvent, WatchSession
from sync_engine.wire import ANY_VERSION, Check, Create, Delete, OpCode, SetData
from sync_engine.znode import PERM_ALL, PERM_READ, WORLD_ALL, Acl
from tests.sync_engine.memory import watcher
from tests.sync_engine.memory.ensemble import Ensemble
from tests.sync_engine.memory.loop import VirtualLoop
from tests.sync_engine.memory.network import Network
from tests.sync_engine.memory.tree import digest_id
from tests.sync_engine.servers import AUTH, PASSWORD, expire
from tests.waiting import until

CREATED, CHANGED, DELETED = EventKind.CREATED, EventKind.CHANGED, EventKind.DELETED
SEQUENTIAL = 2
T = TypeVar("T")


class Bench:
    """Servers of one kind, and sessions to them."""

    hosts: str

    def __init__(self) -> None:
        self.root = f"/contract-{uuid.uuid4().hex[:8]}"

    def run(self, scenario: Callable[[Bench, Lane], Awaitable[None]]) -> None:
        """Run a scenario with a super user's lane, and a root of its own that is there."""
        asyncio.run(self._run(scenario))

    async def _run(self, scenario: Callable[[Bench, Lane], Awaitable[None]]) -> None:
        async with self.lane() as lane:
            await lane.create(self.root, None, WORLD_ALL)
            await scenario(self, lane)

    @contextlib.asynccontextmanager
    async def lane(
        self, auth: Sequence[tuple[str, bytes]] = AUTH, saved: SavedSession | None = None
    ) -> AsyncGenerator[Lane]:
        """Another session."""
        lane = Lane(self.hosts, auth, session_timeout_s=5, saved=saved)
        await lane.start()
        try:
            yield lane
        finally:
            await lane.close()

    @contextlib.asynccontextmanager
    async def watch(
        self, path: str, auth: Sequence[tuple[str, bytes]] = AUTH
    ) -> AsyncGenerator[Watched]:
        """A watch session on a path."""
        watched = Watched(self.hosts, auth)
        await watched.session.start()
        try:
            await watched.session.add(path)
            yield watched
        finally:
            await watched.session.stop()

    async def expire(self, session: SavedSession) -> None:
        """End somebody else's session."""
        await expire(self.hosts, session)


class Watched:
    """A watch session and what it said."""

    def __init__(self, hosts: str, auth: Sequence[tuple[str, bytes]]) -> None:
        self.events: list[WatchEvent] = []
        self.gaps = 0
        self.session = WatchSession(
            hosts,
            auth,
            session_timeout_s=5,
            on_event=self.events.append,
            on_gap=self._on_gap,
        )

    def _on_gap(self) -> None:
        self.gaps += 1

    async def seen(self, count: int) -> list[tuple[EventKind, str]]:
        """The events, once there are so many."""
        await until(lambda: len(self.events) >= count, f"{count} events")
        return [(event.kind, event.path) for event in self.events]


class MemoryBench(Bench):
    """An ensemble in memory, in virtual time."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop(1)
        self.ensemble = Ensemble("m", self.loop)
        Network(self.loop, [self.ensemble])
        self.hosts = ",".join(f"{server.name}.me" for server in self.ensemble.servers)

    def run(self, scenario: Callable[[Bench, Lane], Awaitable[None]]) -> None:
        with watcher.installed():
            self.loop.run(self._run(scenario))

    async def _run(self, scenario: Callable[[Bench, Lane], Awaitable[None]]) -> None:
        await super()._run(scenario)


class ServerBench(Bench):
    """A real server."""

    def __init__(self, hosts: str) -> None:
        super().__init__()
        self.hosts = hosts


@pytest.fixture(params=["memory", "zookeeper"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "zookeeper":
        yield ServerBench(request.getfixturevalue("zookeeper"))
        return
    made = MemoryBench()
    try:
        yield made
    finally:
        made.loop.discard()


async def refused(work: Awaitable[object]) -> type[ZkError]:
    """The kind of error that something ends in."""
    with pytest.raises(ZkError) as caught:
        await work
    return type(caught.value)


async def create_sequential(lane: Lane, path: str) -> str:
    """The path that a server gives a sequential znode."""
    body = wire.create_body(Create(path, b"", WORLD_ALL))[:-4] + struct.pack(">i", SEQUENTIAL)

    def read(raw: bytes, at: int, _end: int) -> str:
        return wire.read_string(raw, at)[0]

    return await lane.submit(OpCode.CREATE2, body, read, path)


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
            await until(lambda: LaneState.CONNECTED in states, "a new session")
            assert states == [LaneState.DISCONNECTED, LaneState.EXPIRED, LaneState.CONNECTED]
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
            await bench.expire(saved)
            await until(lambda: watched.gaps, "a gap")
            await lane.create(f"{root}/later", b"", WORLD_ALL)
            await until(lambda: watched.events, "an event")
            assert watched.events[-1].path == f"{root}/later"
            assert watched.gaps == 1

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
