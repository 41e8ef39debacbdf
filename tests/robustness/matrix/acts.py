"""What is done to a stage, and how it is undone. Each act waits until it has had its effect."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Collection, Sequence

from sync_engine.cli import EXIT_FAILED, EXIT_FENCED
from sync_engine.direction import Side
from sync_engine.znode import PERM_ALL, PERM_READ, Acl
from tests.performance.proxy import Flow
from tests.robustness.matrix.ensembles import Group
from tests.robustness.matrix.failpoints import STARTING
from tests.robustness.matrix.looks import probed
from tests.robustness.matrix.stage import ENGINE_SESSION_S, Process, Stage
from tests.sync_engine.servers import Server
from tests.waiting import until

Act = Callable[[Stage], Awaitable[None]]
Pick = Callable[[Group], Server]
# Longer than the engine's sessions, so that they expire.
_LONG_S = 1.2 * ENGINE_SESSION_S
# Followers give a leader up after syncLimit, 5 s at these servers' tick.
_LEADER_S = 8.0
_WRITES_S = 1.0
_EXPIRED_S = 60.0
_EQUAL_S = 120.0
_ARRIVED_S = 120.0
_PROBE_PAUSE_S = 0.02
_SKIP_MAX = 12
_LIMITS = "count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit={}"
_READ_ONLY = (Acl(PERM_READ, "world", "anyone"),)
_OTHERS = (Acl(PERM_ALL, "digest", "admin:6e6f626f6479"),)


async def nothing(_: Stage) -> None:
    """For faults that need no undoing."""


# The engine's process


def engine_killed(times: int) -> Act:
    """Kill it and start it again, some times over."""

    async def act(stage: Stage) -> None:
        for _ in range(times):
            await asyncio.sleep(stage.chance.uniform(0.1, 0.6))
            stage.engine.kill()
            stage.engine.start()
            await stage.engine.await_up()

    return act


async def engine_paused(stage: Stage) -> None:
    """Stop it in its tracks for longer than its sessions live."""
    stage.engine.send(signal.SIGSTOP)
    await asyncio.sleep(_LONG_S)


async def engine_resumed(stage: Stage) -> None:
    """Let it go on."""
    stage.engine.send(signal.SIGCONT)


def engine_dies_at(point: str) -> Act:
    """Start it so that it dies between two steps."""

    async def act(stage: Stage) -> None:
        skip = 0 if point in STARTING else stage.chance.randrange(_SKIP_MAX)
        stage.facts["skip"] = skip
        stage.engine.start(point, str(skip))
        code = await stage.engine.ended()
        assert code == -signal.SIGKILL, (code, stage.engine.log[-3000:])

    return act


async def engine_started(stage: Stage) -> None:
    """Start it again, on what it left."""
    stage.engine.start()


# Servers


def killed(side: Side, pick: Pick) -> Act:
    """Kill one server for a while."""

    async def act(stage: Stage) -> None:
        server = await asyncio.to_thread(pick, stage.groups[side])
        stage.facts["server"] = server
        server.kill()
        await asyncio.sleep(_WRITES_S)

    return act


async def server_started(stage: Stage) -> None:
    """Start it again."""
    server: Server = stage.facts["server"]
    server.start()
    await asyncio.to_thread(server.await_serving)


def paused(side: Side, pick: Pick) -> Act:
    """Stop one server for longer than the others wait for it."""

    async def act(stage: Stage) -> None:
        server = await asyncio.to_thread(pick, stage.groups[side])
        stage.facts["server"] = server
        server.pause()
        await asyncio.sleep(_LEADER_S)

    return act


async def server_resumed(stage: Stage) -> None:
    """Let it go on."""
    stage.facts["server"].resume()


def side_killed(side: Side) -> Act:
    """Kill all servers of a side."""

    async def act(stage: Stage) -> None:
        stage.groups[side].kill()

    return act


def side_started(side: Side) -> Act:
    """Start them again, with their data."""

    async def act(stage: Stage) -> None:
        await asyncio.to_thread(stage.groups[side].start)

    return act


def side_paused(side: Side) -> Act:
    """Stop all servers of a side."""

    async def act(stage: Stage) -> None:
        stage.groups[side].pause()

    return act


def side_resumed(side: Side) -> Act:
    """Let them go on."""

    async def act(stage: Stage) -> None:
        await asyncio.to_thread(stage.groups[side].resume)

    return act


# Ways


def cut(sides: Collection[Side], flows: Sequence[Flow]) -> Act:
    """Let nothing through between the engine and some sides, for a while."""

    async def act(stage: Stage) -> None:
        for side in sides:
            stage.ways[side].cut(flows)
        await asyncio.sleep(_LONG_S)

    return act


def expired(sides: Collection[Side]) -> Act:
    """Keep the engine from some sides until its sessions there are no more."""

    async def act(stage: Stage) -> None:
        status = await stage.engine.status()
        assert status is not None
        if set(sides) == set(Side):
            stage.engine.send(signal.SIGSTOP)
        for side in sides:
            stage.ways[side].cut()
        for side in sides:
            ids = status.sessions[side].session_ids
            assert ids
            await until(
                lambda side=side, ids=ids: asyncio.to_thread(_are_gone, stage.groups[side], ids),
                f"the end of the engine's sessions on side {side}",
                _EXPIRED_S,
            )
        stage.engine.send(signal.SIGCONT)

    return act


def _are_gone(group: Group, ids: list[str]) -> bool:
    told = group.leader.ask("dump")
    return "Session" in told and not any(id_ in told for id_ in ids)


def slow(min_s: float, max_s: float) -> Act:
    """Hold up everything between the engine and both sides; writes arrive all the same."""

    async def act(stage: Stage) -> None:
        for way in stage.ways.values():
            way.delay(min_s, max_s)
        await probed(stage)
        await asyncio.sleep(_LONG_S)

    return act


async def healed(stage: Stage) -> None:
    """Let everything through again."""
    for way in stage.ways.values():
        way.heal()


# More than one engine


async def second_engine(stage: Stage) -> None:
    """Start another engine with files of its own; the first must end."""
    first = stage.engine
    await _taken_over(stage, first)


async def second_engine_while_paused(stage: Stage) -> None:
    """Stop the engine in its tracks, let another one take over, and let the first go on."""
    first = stage.engine
    first.send(signal.SIGSTOP)
    stage.engine = stage.add_process("second")
    stage.writers.history.lost_base.append(next(stage.writers.ticks))
    stage.engine.start()
    await stage.engine.await_up()
    first.send(signal.SIGCONT)
    await _is_fenced(stage, first)


async def _taken_over(stage: Stage, first: Process) -> None:
    stage.engine = stage.add_process("second")
    stage.writers.history.lost_base.append(next(stage.writers.ticks))
    stage.engine.start()
    await _is_fenced(stage, first)


async def _is_fenced(stage: Stage, first: Process) -> None:
    code = await first.ended()
    assert code == EXIT_FENCED, (code, first.log[-3000:])
    stage.facts["said"] = first.last_words("engine.fenced")
    assert "has taken over" in stage.facts["said"]


async def second_is_refused(stage: Stage) -> None:
    """Start another engine on the same files; it must end at once."""
    second = stage.add_process("second", state_dir=str(stage.engine.state_dir))
    second.start()
    code = await second.ended()
    assert code == EXIT_FAILED, (code, second.log[-3000:])
    stage.facts["said"] = second.last_words("engine.failed")
    assert "saw another process use it" in stage.facts["said"]
