"""A lane's life on real ZooKeeper servers: its start, servers and sessions it loses, its end."""

from __future__ import annotations

import asyncio
import time

import pytest

from sync_engine.connection import IN_FLIGHT_BYTES_MAX
from sync_engine.errors import AuthFailedError, ConnectionLostError, LaneClosedError
from sync_engine.lane import Lane
from sync_engine.session import LaneState, SavedSession
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.servers import AUTH, Ensemble, Server
from tests.waiting import until


async def test_unknown_credentials_end_the_start(zookeeper: str) -> None:
    refused = Lane(zookeeper, [("nonsense", b"x")], session_timeout_s=5)
    with pytest.raises(AuthFailedError):
        await refused.start()
    with pytest.raises(AuthFailedError):
        await refused.sync()


async def test_a_closed_lane_refuses_requests(zookeeper: str) -> None:
    lane = Lane(zookeeper, session_timeout_s=5)
    with pytest.raises(LaneClosedError):
        await lane.sync()
    await lane.start()
    await lane.close()
    await lane.close()
    with pytest.raises(LaneClosedError):
        await lane.sync()


async def test_no_server_ends_the_start_in_time(tmp_path: object) -> None:
    lane = Lane("127.0.0.1:1", session_timeout_s=5)
    began = time.monotonic()
    with pytest.raises(ConnectionLostError, match="look at the servers") as caught:
        await lane.start(bound_s=0.3)
    assert not caught.value.sent
    assert time.monotonic() - began < 5


async def test_a_killed_server_fails_what_is_in_flight_and_keeps_the_session(
    own_server: Server,
) -> None:
    lane = Lane(own_server.hosts, AUTH, session_timeout_s=10, reconnect_bound_s=30)
    states: list[LaneState] = []
    lane.on_state(states.append)
    await lane.start()
    session = lane.session_id
    await lane.create("/kept", b"", WORLD_ALL, ephemeral=True)
    own_server.pause()
    in_flight = asyncio.ensure_future(lane.set_data("/kept", b"x", -1))
    # The task begins in one turn of the loop; what it asks for goes out at the end of it.
    for _ in range(2):
        await asyncio.sleep(0)
    own_server.kill()
    with pytest.raises(ConnectionLostError) as caught:
        await in_flight
    assert caught.value.sent
    waiting = asyncio.ensure_future(lane.exists("/kept"))
    own_server.start()
    assert await waiting is not None
    assert lane.session_id == session
    assert states == [LaneState.CONNECTED, LaneState.DISCONNECTED, LaneState.CONNECTED]
    await lane.close()


async def test_a_request_waits_for_a_connection_only_so_long(own_server: Server) -> None:
    lane = Lane(own_server.hosts, AUTH, session_timeout_s=10, reconnect_bound_s=0.3)
    await lane.start()
    own_server.kill()
    await until(lambda: not lane.connected.is_set(), "the lane notices")
    with pytest.raises(ConnectionLostError) as caught:
        await lane.exists("/")
    assert not caught.value.sent
    with pytest.raises(ConnectionLostError):
        await lane.exists("/")
    await lane.close()


async def test_a_silent_server_is_given_up(own_server: Server) -> None:
    lane = Lane(own_server.hosts, AUTH, session_timeout_s=1)
    await lane.start()
    own_server.pause()
    began = time.monotonic()
    with pytest.raises(ConnectionLostError, match="silent"):
        await lane.sync()
    assert time.monotonic() - began < 2
    own_server.resume()
    await asyncio.wait_for(lane.connected.wait(), 10)
    await lane.close()


async def test_an_idle_session_lives_on_by_pings(zookeeper: str) -> None:
    lane = Lane(zookeeper, AUTH, session_timeout_s=1)
    await lane.start()
    session = lane.session_id
    states: list[LaneState] = []
    lane.on_state(states.append)
    # Not a wait: being idle for two session time-outs is what is looked at.
    await asyncio.sleep(2.2)
    assert await lane.exists("/") is not None
    assert (lane.session_id, states) == (session, [])
    await lane.close()


async def test_an_expired_session_is_told_and_replaced(zookeeper: str) -> None:
    states: list[LaneState] = []
    lane = Lane(zookeeper, AUTH, session_timeout_s=5, saved=SavedSession(4711, bytes(16)))
    lane.on_state(states.append)
    await lane.start()
    assert states == [LaneState.EXPIRED, LaneState.CONNECTED]
    assert lane.session_id not in (0, 4711)
    assert "4711" not in repr(lane.saved)
    assert await lane.exists("/") is not None
    await lane.close()


@pytest.mark.long
async def test_a_lane_moves_to_another_server_with_its_session(ensemble: Ensemble) -> None:
    lane = Lane(ensemble.hosts, AUTH, session_timeout_s=5)
    await lane.start()
    session = lane.session_id
    paused = next(server for server in ensemble.servers if server.hosts == lane.server)
    paused.pause()
    try:
        await until(lambda: lane.connected.is_set() and lane.server != paused.hosts, "a move")
    finally:
        paused.resume()
    assert await lane.exists("/") is not None
    assert lane.session_id == session
    await lane.close()


async def test_a_server_that_lags_behind_is_refused(
    zookeeper: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = Lane(zookeeper, AUTH, session_timeout_s=5)
    monkeypatch.setattr(lane, "_zxid", 1 << 60)
    with pytest.raises(ConnectionLostError, match="closed the connection"):
        await lane.start(bound_s=0.5)


async def test_a_listener_that_fails_ends_the_lane_and_does_not_hang_it(zookeeper: str) -> None:
    def fail(_: LaneState) -> None:
        raise ValueError

    lane = Lane(zookeeper, AUTH, session_timeout_s=5)
    lane.on_state(fail)
    with pytest.raises(LaneClosedError):
        await lane.start()
    with pytest.raises(LaneClosedError):
        await lane.sync()


async def test_large_requests_under_way_are_bounded_by_their_bytes(own_server: Server) -> None:
    lane = Lane(own_server.hosts, AUTH, session_timeout_s=10, reconnect_bound_s=0.2)
    await lane.start()
    own_server.pause()
    size = 500_000
    asked = [asyncio.ensure_future(lane.set_data("/", bytes(size), -1)) for _ in range(40)]
    # The tasks begin.
    await asyncio.sleep(0)
    own_server.kill()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    sent = [error.sent for error in outcomes if isinstance(error, ConnectionLostError)]
    assert len(sent) == len(asked)
    assert sum(sent) == IN_FLIGHT_BYTES_MAX // size + 1
    await lane.close()
