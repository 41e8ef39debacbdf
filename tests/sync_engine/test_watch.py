"""Persistent recursive watches against real ZooKeeper servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from kazoo.client import KazooClient

from sync_engine.errors import AuthFailedError, ConnectionLostError
from sync_engine.lane import Lane
from sync_engine.watch import EventKind, WatchEvent, WatchSession
from sync_engine.wire import Create, Delete, SetData
from sync_engine.znode import WORLD_ALL, Acl
from tests.sync_engine.servers import AUTH, Server, expire, start_all
from tests.waiting import BOUND_S, until

CREATED, CHANGED, DELETED = EventKind.CREATED, EventKind.CHANGED, EventKind.DELETED


class Listener:
    """A watch session and what it said."""

    def __init__(self, hosts: str, *, session_timeout_s: float = 5) -> None:
        self.events: list[WatchEvent] = []
        self.gaps = 0
        self.session = WatchSession(
            hosts,
            AUTH,
            session_timeout_s=session_timeout_s,
            on_event=self.events.append,
            on_gap=self._on_gap,
        )

    def _on_gap(self) -> None:
        self.gaps += 1

    @property
    def seen(self) -> list[tuple[EventKind, str]]:
        return [(event.kind, event.path) for event in self.events]


@pytest_asyncio.fixture
async def listener(zookeeper: str) -> AsyncIterator[Listener]:
    made = Listener(zookeeper)
    await made.session.start()
    try:
        yield made
    finally:
        await made.session.stop()


async def _await_count(listener: Listener, count: int) -> None:
    await until(lambda: len(listener.events) >= count, f"{count} events")


async def test_every_change_below_a_path_is_told_once(
    lane: Lane, root: str, listener: Listener
) -> None:
    await listener.session.add(root)
    await lane.create(f"{root}/a", b"", WORLD_ALL)
    await lane.create(f"{root}/a/b", b"", WORLD_ALL)
    for value in range(3):
        await lane.set_data(f"{root}/a/b", str(value).encode(), value)
    await lane.delete(f"{root}/a/b", -1)
    await lane.set_data(root, b"x", -1)
    await _await_count(listener, 7)
    assert listener.seen == [
        (CREATED, f"{root}/a"),
        (CREATED, f"{root}/a/b"),
        *[(CHANGED, f"{root}/a/b")] * 3,
        (DELETED, f"{root}/a/b"),
        (CHANGED, root),
    ]
    assert listener.gaps == 0


async def test_an_event_carries_the_zxid_of_its_change(
    lane: Lane, root: str, listener: Listener
) -> None:
    await listener.session.add(root)
    result = await lane.multi(
        [Create(f"{root}/a", b"", WORLD_ALL), SetData(root, b"x", 0), Delete(f"{root}/a", 0)]
    )
    await _await_count(listener, 3)
    assert {event.zxid for event in listener.events} == {result.zxid}


async def test_sequential_and_ephemeral_znodes_are_told(
    lane: Lane, root: str, listener: Listener, zookeeper: str
) -> None:
    await listener.session.add(root)

    def create() -> list[str]:
        client = KazooClient(zookeeper)
        client.start()
        try:
            return [
                str(client.create(f"{root}/n-", b"", sequence=True, ephemeral=index > 0))
                for index in range(3)
            ]
        finally:
            client.stop()
            client.close()

    paths = await asyncio.to_thread(create)
    await _await_count(listener, 5)
    assert listener.seen[:3] == [(CREATED, path) for path in paths]
    assert set(listener.seen[3:]) == {(DELETED, path) for path in paths[1:]}


async def test_a_path_that_is_not_there_yet_is_watched(
    lane: Lane, root: str, listener: Listener
) -> None:
    await listener.session.add(f"{root}/later")
    await lane.create(f"{root}/later", b"", WORLD_ALL)
    await lane.create(f"{root}/other", b"", WORLD_ALL)
    await lane.delete(f"{root}/later", 0)
    await _await_count(listener, 2)
    assert listener.seen == [(CREATED, f"{root}/later"), (DELETED, f"{root}/later")]


async def test_a_burst_is_told_in_order_and_whole(
    lane: Lane, root: str, listener: Listener
) -> None:
    await listener.session.add(root)
    paths = [f"{root}/{index}" for index in range(5000)]
    for start in range(0, len(paths), 500):
        await lane.multi([Create(path, b"", WORLD_ALL) for path in paths[start : start + 500]])
    await _await_count(listener, len(paths))
    assert listener.seen == [(CREATED, path) for path in paths]


async def test_two_sessions_are_told_each(
    lane: Lane, root: str, listener: Listener, zookeeper: str
) -> None:
    other = Listener(zookeeper)
    await other.session.start()
    try:
        await listener.session.add(root)
        await other.session.add(root)
        await lane.set_data(root, b"x", 0)
        await _await_count(listener, 1)
        await _await_count(other, 1)
        assert listener.session.session_id != other.session.session_id
    finally:
        await other.session.stop()


async def test_a_restricted_znode_sends_events_to_the_super_user(
    lane: Lane, root: str, listener: Listener
) -> None:
    await listener.session.add(root)
    await lane.create(f"{root}/closed", b"", (Acl(31, "digest", "me:hash"),))
    await lane.set_data(f"{root}/closed", b"x", 0)
    await _await_count(listener, 2)


async def test_after_a_reconnect_the_gap_is_told_and_events_go_on(own_server: Server) -> None:
    lane = Lane(own_server.hosts, AUTH, session_timeout_s=10, reconnect_bound_s=30)
    listener = Listener(own_server.hosts, session_timeout_s=10)
    await lane.start()
    await listener.session.start()
    try:
        for path in ("/one", "/two"):
            await lane.create(path, b"", WORLD_ALL)
            await listener.session.add(path)
        session = listener.session.session_id
        own_server.kill()
        own_server.start()
        await until(lambda: listener.gaps, "the gap is told")
        assert listener.session.connected
        assert listener.session.session_id == session
        for path in ("/one", "/two"):
            await lane.set_data(path, b"after", -1)
        await _await_count(listener, 2)
        assert listener.seen == [(CHANGED, "/one"), (CHANGED, "/two")]
        assert listener.gaps == 1
    finally:
        await listener.session.stop()
        await lane.close()


async def test_after_an_expiry_a_new_session_watches(
    lane: Lane, root: str, listener: Listener, zookeeper: str
) -> None:
    await listener.session.add(root)
    session = listener.session.session_id
    saved = listener.session.saved
    assert saved is not None
    most = await expire(zookeeper, saved)
    await until(lambda: listener.session.session_id not in (0, session), "a new session")
    await until(lambda: listener.session.stands, "the watch of the new session")
    assert 1 <= listener.gaps <= most
    await lane.set_data(root, b"x", 0)
    await _await_count(listener, 1)


async def test_a_session_that_starts_again_watches_what_it_did(
    lane: Lane, root: str, listener: Listener
) -> None:
    await listener.session.add(root)
    await listener.session.stop()
    await listener.session.start()
    await until(lambda: listener.gaps, "the gap is told")
    await lane.set_data(root, b"x", 0)
    await _await_count(listener, 1)


async def test_a_watch_asked_for_without_a_connection_is_set_later(own_server: Server) -> None:
    listener = Listener(own_server.hosts, session_timeout_s=10)
    await listener.session.start()
    try:
        own_server.kill()
        await until(lambda: not listener.session.connected, "the loss is noticed")
        adding = asyncio.create_task(listener.session.add("/"))
        own_server.start()
        await asyncio.wait_for(adding, BOUND_S)
    finally:
        await listener.session.stop()


async def test_a_server_without_such_watches_is_noticed(tmp_path: Path) -> None:
    manager = "org.apache.zookeeper.server.watch.WatchManagerOptimized"
    server = Server(tmp_path, java_options=f"-Dzookeeper.watchManagerName={manager}")
    with start_all(server):
        listener = Listener(server.hosts)
        await listener.session.start()
        try:
            assert listener.session.supports_persistent
            await listener.session.add("/")
            assert not listener.session.supports_persistent
        finally:
            await listener.session.stop()


async def test_no_server_ends_the_start_in_time() -> None:
    listener = Listener("127.0.0.1:1")
    with pytest.raises(ConnectionLostError):
        await listener.session.start(bound_s=0.3)
    assert not listener.session.connected


async def test_unknown_credentials_end_the_start(zookeeper: str) -> None:
    def ignore(*_: object) -> None:
        """Nothing comes that matters here."""

    session = WatchSession(
        zookeeper,
        [("nonsense", b"x")],
        session_timeout_s=5,
        on_event=ignore,
        on_gap=ignore,
    )
    with pytest.raises((AuthFailedError, ConnectionLostError)):
        await session.start(bound_s=5)
