"""Collectors are timed, slowed down, restarted when they hang; one's trouble is nobody else's."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from typing import ClassVar

import pytest

from probe.agent.agent import Agent
from probe.agent.collector import Capability, Collector, State
from probe.agent.collectors.host import HostCollector
from probe.agent.errors import AbsentError, SettingsError
from probe.agent.log import Log
from probe.agent.runner import Runner
from probe.agent.settings import Settings
from probe.agent.site import Site
from probe.agent.watchdog import Watchdog
from tests.probe.sites import site
from tests.waiting import until


class Scripted:
    """Does what it is told at each look."""

    name: ClassVar[str] = "scripted"
    interval_s: ClassVar[float] = 0.01

    def __init__(self, script: Callable[[int], object]) -> None:
        self._script = script
        self.looks = 0
        self.closed = False

    async def start(self) -> None:
        await asyncio.sleep(0)

    async def collect(self) -> None:
        self.looks += 1
        done = self._script(self.looks)
        if asyncio.isfuture(done) or asyncio.iscoroutine(done):
            await done

    def capability(self) -> Capability:
        return Capability(State.FULL, "scripted")

    async def close(self) -> None:
        self.closed = True


class Other(Scripted):
    """Another one."""

    name: ClassVar[str] = "other"


NAMES = (Scripted.name, Other.name)


class Stage:
    """A runner of scripted collectors, all that were made of them, and what was logged."""

    def __init__(
        self,
        *scripts: Callable[[int], object],
        look_s_max: float = 5.0,
        stuck_s_max: float = 60.0,
    ) -> None:
        self.made: list[list[Scripted]] = [[] for _ in scripts]
        self.log = io.StringIO()
        self.site = site(clock=time.monotonic)
        self.factories = dict(zip(NAMES, map(self._factory, range(2), scripts), strict=False))
        self.runner = Runner(
            self.site,
            self.factories,
            Log(self.log),
            look_s_max=look_s_max,
            stuck_s_max=stuck_s_max,
        )

    def _factory(self, number: int, script: Callable[[int], object]) -> Callable[[Site], Collector]:
        def make(_: Site) -> Collector:
            collector = (Scripted, Other)[number](script)
            self.made[number].append(collector)
            return collector

        return make

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.log.getvalue().splitlines()]


@contextlib.asynccontextmanager
async def running(stage: Stage) -> AsyncGenerator[Stage]:
    task = asyncio.create_task(stage.runner.run())
    try:
        yield stage
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction] - pytest uses it
    monkeypatch.setattr("probe.agent.runner._RETRY_S", (0.01,))


def nothing(_: int) -> None:
    """A look that sees nothing."""


def failing(look: int) -> None:
    msg = f"look {look} sees nothing"
    raise ValueError(msg)


async def test_a_collector_that_fails_is_made_anew_and_the_other_goes_on() -> None:
    async with running(Stage(failing, nothing)) as stage:
        await until(lambda: len(stage.made[0]) > 3, "it is made anew")
        await until(lambda: stage.made[1][0].looks > 3, "the other goes on")
        stage.runner.tell()
        told = stage.site.ledger["collector"].node("node;scripted")

        assert told["state"] == "failed"
        assert "sees nothing" in str(told["problem"])
        assert all(one.closed for one in stage.made[0][:-1])
        assert stage.site.ledger["collector"].node("node;other")["state"] == "full"


class Mute(Scripted):
    """Cannot say what it can do, but for the first time that it is asked."""

    def capability(self) -> Capability:
        if self.looks > 1:
            msg = "no word of it"
            raise ValueError(msg)
        return super().capability()


def _failures(runner: Runner) -> int:
    return sum(work.failures for work in runner.work.values())


async def test_a_collector_that_cannot_say_what_it_can_do_ends_no_other() -> None:
    stage = Stage(nothing, nothing)
    factories: dict[str, Callable[[Site], Collector]] = {**stage.factories}
    factories["scripted"] = lambda _: Mute(nothing)
    runner = Runner(stage.site, factories, Log(stage.log), look_s_max=5.0)
    stage.runner = runner
    async with running(stage):
        await until(lambda: _failures(runner) > 1, "it fails twice")
        looks = runner.work["other"].looks
        await until(lambda: runner.work["other"].looks > looks, "the other goes on")
    # Anew, it can say it once, and then there is no problem for a moment.
    assert "ValueError: no word of it" in stage.log.getvalue()


async def test_a_collector_that_cannot_be_made_ends_no_other() -> None:
    def refuse(_: Site) -> Collector:
        msg = "no such address"
        raise SettingsError(msg)

    stage = Stage(nothing, nothing)
    factories = {**stage.factories, "scripted": refuse}
    stage.runner = Runner(stage.site, factories, Log(stage.log))
    async with running(stage):
        await until(lambda: _failures(stage.runner) > 1, "it fails twice")
        await until(lambda: stage.made[1] and stage.made[1][0].looks > 2, "the other goes on")
        work = stage.runner.work["scripted"]
        assert work.capability.state is State.FAILED
        assert work.problem == "SettingsError: no such address"
        stage.runner.tell()
        assert stage.site.ledger["collector"].node("node;scripted")["state"] == "failed"


async def test_one_look_goes_on_without_a_collector_that_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@elsewhere")
    agent = Agent(Settings(collectors=("container", "host")), Log(io.StringIO()))
    async with agent.once():
        work = agent.runner.work
        assert work["container"].capability.state is State.FAILED
        assert "ssh://…@elsewhere" in (work["container"].problem or "")
        assert work["host"].looks == 1
        assert len(agent.ledger["host"]) == 1


async def test_a_collector_that_hangs_is_given_up_and_made_anew() -> None:
    hung = asyncio.Event()

    def hang_once(_: int) -> object:
        return hung.wait() if len(stage.made[0]) == 1 else None

    stage = Stage(hang_once, look_s_max=0.1)
    async with running(stage):
        await until(lambda: len(stage.made[0]) == 2, "it is made anew")
        await until(lambda: stage.made[0][1].looks > 2, "it looks again")
        work = stage.runner.work["scripted"]

        assert work.restarts == 1
        assert work.problem is None
        assert stage.events() == ["trouble.began", "trouble.ended"]


def sleep_for_ever() -> None:
    time.sleep(600)


def compute_for_ever() -> None:
    while True:
        pass


def read_for_ever() -> None:
    reading, writing = os.pipe()
    try:
        os.read(reading, 1)
    finally:
        os.close(reading)
        os.close(writing)


def match_for_ever() -> None:
    """A regular expression keeps the interpreter's lock."""
    re.match(r"(?:a|aa)+$", "a" * 80 + "!")


BLOCKS = [sleep_for_ever, compute_for_ever, read_for_ever, match_for_ever]


@pytest.mark.parametrize("block", BLOCKS)
async def test_a_collector_that_blocks_everything_is_interrupted_and_made_anew(
    block: Callable[[], None],
) -> None:
    def block_once(look: int) -> None:
        if len(stage.made[0]) == 1 and look == 2:
            block()

    before = signal.getsignal(signal.SIGALRM)
    stage = Stage(block_once, nothing, stuck_s_max=0.2)
    with stage.runner.watchdog.watching():
        async with running(stage):
            await until(lambda: len(stage.made[0]) == 2, "it is made anew")
            await until(lambda: stage.made[0][1].looks > 3, "it looks again")
            others = stage.made[1][0].looks
            await until(lambda: stage.made[1][0].looks > others, "the other goes on")
            work = stage.runner.work["scripted"]

            assert (work.restarts, work.problem) == (1, None)
            assert stage.runner.watchdog.interruptions == 1
            assert stage.events() == ["trouble.began", "trouble.ended"]
            assert "a step of scripted to end within 0.2 s" in stage.log.getvalue()
    assert signal.getsignal(signal.SIGALRM) is before


async def test_one_look_is_interrupted_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    async def start(_: HostCollector) -> None:
        match_for_ever()

    monkeypatch.setattr(HostCollector, "start", start)
    agent = Agent(Settings(collectors=("host",)), Log(io.StringIO()))
    agent.runner.watchdog = Watchdog(0.2)
    async with agent.once():
        problem = agent.runner.work["host"].problem or ""
        assert "a step of host to end within 0.2 s" in problem


async def test_a_step_that_ends_in_time_is_never_interrupted() -> None:
    def busy(_: int) -> None:
        begun = time.monotonic()
        while time.monotonic() - begun < 0.05:
            pass

    stage = Stage(busy, stuck_s_max=5.0)
    with stage.runner.watchdog.watching():
        async with running(stage):
            await until(lambda: stage.made[0] and stage.made[0][0].looks > 5, "it looks")

    assert stage.runner.watchdog.interruptions == 0


async def test_a_trouble_that_goes_on_is_written_once() -> None:
    def always(_: int) -> None:
        msg = "still broken"
        raise ValueError(msg)

    async with running(Stage(always)) as stage:
        await until(lambda: len(stage.made[0]) > 5, "it failed often")
        assert stage.events() == ["trouble.began"]


async def test_the_first_of_several_failures_at_once_is_told() -> None:
    def both(_: int) -> None:
        failures = [ValueError("this one"), KeyError("that one")]
        raise ExceptionGroup("of a group", [ExceptionGroup("inside", failures)])

    async with running(Stage(both, nothing)) as stage:
        work = await until(lambda: stage.runner.work.get(NAMES[0]), "it works")
        told = await until(lambda: work.problem, "it is told")

    assert told == "ValueError: this one (and 1 more)"


async def test_what_is_absent_is_not_a_failure() -> None:
    def absent(_: int) -> None:
        msg = "no engine"
        raise AbsentError(msg, grant="install one")

    async with running(Stage(absent)) as stage:
        await until(lambda: "scripted" in stage.runner.work, "it was made")
        await until(
            lambda: stage.runner.work["scripted"].capability.state is State.ABSENT, "it is absent"
        )
        stage.runner.tell()
        told = stage.site.ledger["collector"].node("node;scripted")

        assert told["misses"] == ["no engine: install one"]
        assert told["failures"] == 0


def test_clients_of_clusters_are_not_loaded_where_none_is_named() -> None:
    script = (
        "import asyncio, sys\n"
        "from probe.agent.agent import Agent\n"
        "from probe.agent.settings import Settings\n"
        "async def main():\n"
        "    agent = Agent(Settings(collectors=('mesos',)))\n"
        "    async with agent.once():\n"
        "        node = agent.ledger['collector'].node(f'{agent.site.host};mesos')\n"
        "        print(node['state'], node['misses'], agent.runner.work['mesos'].failures)\n"
        "asyncio.run(main())\n"
        "print([name for name in sys.modules if name.startswith('clients')])\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    absent = "absent ['no cluster is named: name masters and ZooKeeper servers in `mesos`'] 0"
    assert told.stdout.splitlines() == [absent, "[]"]


async def test_only_a_collector_s_own_time_is_counted_as_its_cost() -> None:
    def busy(_: int) -> None:
        begun = time.thread_time()
        while time.thread_time() - begun < 0.01:
            pass

    def waiting(_: int) -> object:
        return asyncio.sleep(0.01)

    async with running(Stage(busy, waiting)) as stage:
        await until(lambda: stage.made[0] and stage.made[0][0].looks > 10, "it has worked")
        work = stage.runner.work

        assert work["scripted"].cpu_s >= 0.1
        assert work["other"].cpu_s < work["scripted"].cpu_s / 3


async def test_a_disk_that_is_full_does_not_end_anything() -> None:
    class Full(io.StringIO):
        def write(self, s: str) -> int:
            del s
            raise OSError(28, "No space left on device")

    Log(Full()).trouble("a", "b")
    Log(Full()).event("c")


def test_a_name_that_is_no_utf_8_is_logged_all_the_same() -> None:
    stream = io.StringIO()
    Log(stream).trouble("file", "/x/\udcff", number=10**40)

    assert json.loads(stream.getvalue())["problem"] == "/x/\ufffd"
