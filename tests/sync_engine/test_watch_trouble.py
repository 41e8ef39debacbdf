"""Watches that a server refuses while everything else goes well: said, made up for, tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sync_engine import status, watch
from sync_engine.direction import Side
from sync_engine.errors import AuthFailedError, ThrottledError
from sync_engine.lane import LaneState
from sync_engine.report import EngineState, EngineStatus
from sync_engine.watch import WatchSession
from sync_engine.wire import ANY_VERSION, OpCode, SetData
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.memory.ensemble import Client
from tests.sync_engine.memory.tree import Create
from tests.sync_engine.memory.world import World

_AUTH_FAILED = -115


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(1, tmp_path)
    try:
        made.start()
        made.come_to_rest()
        yield made
    finally:
        made.close()


def _status(world: World) -> EngineStatus:
    assert world.engine is not None
    return status.gather(world.engine)


def _refuse(world: World, code: OpCode, answer: int) -> None:
    """Let side a refuse requests, and lose its watches alone."""
    for server in world.sides[Side.A].servers:
        server.refuses[code] = answer
    watching = [end for end in world.network.of(world.who) if end.door.watches]
    for end in watching:
        if end.door.server.ensemble is world.sides[Side.A]:
            end.door.cut()


def _allow(world: World) -> None:
    for server in world.sides[Side.A].servers:
        server.refuses.clear()


@pytest.mark.parametrize(
    ("code", "answer", "reason"),
    [
        (OpCode.AUTH, _AUTH_FAILED, "credentials"),
        (OpCode.ADD_WATCH, ThrottledError.code, "throttled"),
    ],
)
def test_refused_watches_degrade_the_engine_until_they_are_set_again(
    world: World, code: OpCode, answer: int, reason: str
) -> None:
    a, b = Client(world.sides[Side.A], "client"), world.sides[Side.B]
    _refuse(world, code, answer)
    world.pass_s(3)
    found = _status(world)
    assert found.state is EngineState.DEGRADED
    (why,) = found.reasons
    assert "side a tells no changes" in why
    assert reason in why
    assert not found.sessions[Side.A].watching
    assert not found.is_sound
    # No event tells of it, and no row of the base leads there.
    a.write(Create("/apps/new", b"1", WORLD_ALL))
    world.pass_s(3)
    assert b.copy("/other/apps/new") is not None
    _allow(world)
    world.until(lambda: _status(world).state is EngineState.LIVE, "a sound engine", bound_s=40)
    assert _status(world).sessions[Side.A].watching
    world.come_to_rest()
    a.write(SetData("/apps/new", b"2", ANY_VERSION))
    world.pass_s(0.5)
    copy = b.copy("/other/apps/new")
    assert copy is not None
    assert copy.data == b"2"


def test_refused_watches_are_not_asked_for_all_the_time(world: World) -> None:
    _refuse(world, OpCode.ADD_WATCH, ThrottledError.code)
    with capture_logs() as logs:
        world.pass_s(120)
    gaps = [line for line in logs if line["event"] == "watch.gap"]
    assert 5 <= len(gaps) <= 12


class _Lane:
    """A lane whose answers come when the test says so."""

    def __init__(self) -> None:
        self.asked: list[asyncio.Future[None]] = []
        self.connected = asyncio.Event()
        self.session_id = 1
        self.last_failure: str | None = None
        self.starts = 0
        self.refusal: AuthFailedError | None = None
        self.tell: Callable[[LaneState], None] = lambda _: None

    def on_state(self, tell: Callable[[LaneState], None]) -> None:
        self.tell = tell

    def submit(self, *_: object) -> asyncio.Future[None]:
        self.asked.append(asyncio.get_running_loop().create_future())
        return self.asked[-1]

    async def start(self, *, bound_s: float) -> None:
        del bound_s
        self.starts += 1
        if self.refusal is not None:
            self.tell(LaneState.ENDED)
            raise self.refusal
        self.connect()

    async def close(self) -> None:
        self.connected.clear()

    def connect(self) -> None:
        self.connected.set()
        self.tell(LaneState.CONNECTED)

    def lose(self) -> None:
        self.connected.clear()
        self.tell(LaneState.DISCONNECTED)


async def _turns(count: int = 6) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
def lane(monkeypatch: pytest.MonkeyPatch) -> _Lane:
    """What the next watch session takes for its lane."""
    made = _Lane()

    def give(*_: object, **__: object) -> _Lane:
        return made

    monkeypatch.setattr(watch, "Lane", give)
    return made


def _session() -> WatchSession:
    return WatchSession(
        "nowhere:1", [], session_timeout_s=5, on_event=lambda _: None, on_gap=lambda: None
    )


async def test_connection_lost_right_behind_the_answers_is_watched_again(lane: _Lane) -> None:
    session = _session()
    await session.start()
    adding = asyncio.create_task(session.add("/x"))
    await _turns()
    (first,) = lane.asked
    # The answer has come and nobody has seen it yet.
    first.set_result(None)
    lane.lose()
    await _turns()
    lane.connect()
    await _turns()
    assert len(lane.asked) == 2
    assert not session.stands
    lane.asked[-1].set_result(None)
    await _turns()
    await adding
    assert session.stands
    await session.stop()


async def test_first_start_with_wrong_credentials_is_left_to_who_starts(lane: _Lane) -> None:
    session = _session()
    lane.refusal = AuthFailedError("no")
    with pytest.raises(AuthFailedError):
        await session.start()
    await _turns()
    assert lane.starts == 1
    await session.stop()
