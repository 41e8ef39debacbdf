"""One scenario, in namespaces of its own: `python -m tests.performance.probe.world '{…}'`.

Started by `unshare` (see `__main__`), so that the agent sees the processes and connections of the
scenario and no others. Real sleeping processes in real cgroups stand behind the containers of a
fake Docker engine. Counters are files that a process of the scenario moves, so that every metric
moves at each look; a scenario may ask for the real, idle ones. Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from probe.agent.errors import NotRunningError
from probe.agent.status import Status, ask
from tests.performance.probe import load
from tests.performance.usage import processor_s, resident_mb
from tests.probe import conntrack_rule
from tests.probe.docker_engine import FakeEngine, container, serving
from tests.probe.receiver import Receiver, receiving
from tests.waiting import until

_CGROUPS = Path("/sys/fs/cgroup")
_COUNTERS = {"cpuacct": "cpuacct.usage", "memory": "memory.usage_in_bytes"}
_FOLDER = "probe-bench"
START_S = 240.0


@dataclass(frozen=True)
class Scenario:
    """What there is on the host, and how long it is looked at."""

    containers: int = 0
    processes: int = 0
    connections: int = 0
    events: int = 0
    """Containers that begin, one after the other, while it is measured."""
    short: int = 0
    """Connections of 100 ms, each to a server port of its own."""
    tracked: bool = True
    """Whether the kernel tracks connections."""
    own_networks: bool = False
    """Whether each container has a network namespace of its own."""
    moving: bool = True
    """Whether all counters of containers move."""
    warm_s: float = 12.0
    window_s: float = 30.0
    seed: int = 7


@dataclass
class Result:
    """What was measured."""

    cpu_percent: float
    rss_mb: float
    bytes_per_s: float
    reports: int
    """In the window: fewer than one each 3 s say that the machine was too busy to measure on."""
    nodes: dict[str, int]
    event_ms: list[float] = field(default_factory=list[float])
    found: int = 0
    wanted: int = 0
    false: int = 0
    degraded: list[str] = field(default_factory=list[str])
    collectors: dict[str, float] = field(default_factory=dict[str, float])
    modes: dict[str, str] = field(default_factory=dict[str, str])


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the same each time is what is wanted


def _spawn(count: int, *before: str) -> list[subprocess.Popen[bytes]]:
    sleep = shutil.which("sleep") or "/bin/sleep"
    command = [*before, sleep, "100000"]
    return [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=False) for _ in range(count)
    ]


class Groups:
    """Cgroups of the scenario's containers, and the counters that the agent is shown."""

    def __init__(self, folder: Path, *, moving: bool) -> None:
        self.root = folder if moving else _CGROUPS
        self._moving = moving
        self._made: list[Path] = []
        self._values: dict[Path, int] = {}
        # A process's place is told by the kernel's own hierarchies, so these are always real.
        for controller in _COUNTERS:
            self._make(_CGROUPS / controller / _FOLDER)

    def add(self, id_: str, pid: int) -> None:
        """Give a process a cgroup of its own."""
        for controller, counter in _COUNTERS.items():
            real = _CGROUPS / controller / _FOLDER / id_
            self._make(real)
            (real / "cgroup.procs").write_text(str(pid))
            if self._moving:
                shown = self.root / controller / _FOLDER / id_
                shown.mkdir(parents=True)
                self._values[shown / counter] = 10_000_000
                (shown / counter).write_text("10000000\n")

    def move(self, chance: random.Random) -> None:
        """Let every counter move."""
        for path, value in self._values.items():
            # Up to a third of a processor, in nanoseconds; or so many bytes.
            moved = value + chance.randrange(80_000) * 4096
            self._values[path] = moved
            path.write_text(f"{moved}\n")

    def close(self) -> None:
        """Remove them; their processes have ended."""
        for path in reversed(self._made):
            with contextlib.suppress(OSError):
                path.rmdir()

    def _make(self, path: Path) -> None:
        path.mkdir(exist_ok=True)
        self._made.append(path)


@contextlib.contextmanager
def _host(scenario: Scenario, folder: Path) -> Generator[tuple[dict[str, int], Groups]]:
    """Sleepers: those of containers by id, and others."""
    chance = _chance(scenario.seed)
    apart = ("unshare", "--net") if scenario.own_networks else ()
    sleepers = [*_spawn(scenario.containers, *apart), *_spawn(scenario.processes)]
    groups = Groups(folder / "cgroups", moving=scenario.moving)
    try:
        ids = {f"{chance.getrandbits(256):064x}": p.pid for p in sleepers[: scenario.containers]}
        for id_, pid in ids.items():
            groups.add(id_, pid)
        yield ids, groups
    finally:
        for sleeper in sleepers:
            sleeper.kill()
        for sleeper in sleepers:
            sleeper.wait()
        groups.close()


def _container(id_: str, pid: int, number: int) -> dict[str, Any]:
    return container(
        id_,
        pid=pid,
        name=f"app-{number}",
        image=f"registry.example/app-{number % 20}:1.{number % 5}",
        labels={"app": f"app-{number % 20}", "tier": "web", "version": f"1.{number % 5}"},
        address=f"172.17.{number // 250}.{number % 250 + 2}",
    )


@contextlib.asynccontextmanager
async def _connections(count: int) -> AsyncGenerator[None]:
    """So many connections between two processes."""
    if not count:
        yield
        return
    command = [sys.executable, "-m", load.__name__]
    port = "20100"
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    server = await asyncio.create_subprocess_exec(*command, "serve", port, str(count), **pipes)
    assert server.stdout is not None
    await server.stdout.readline()
    client = await asyncio.create_subprocess_exec(*command, "hold", port, str(count), **pipes)
    assert client.stdout is not None
    await client.stdout.readline()
    await server.stdout.readline()
    try:
        yield
    finally:
        for process in (client, server):
            process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def agent(folder: Path, settings: dict[str, Any]) -> AsyncGenerator[int]:
    """The agent, as it is in service; gives its pid."""
    file = folder / "settings.json"
    file.write_text(json.dumps(settings))
    with (folder / "agent.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "probe.cli", "agent", "run", "--settings", str(file)),
            stderr=log,
        )
    try:
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def run(scenario: Scenario) -> Result:
    """Set the stage, measure, and take it down."""
    if scenario.tracked:
        conntrack_rule.add()
    with tempfile.TemporaryDirectory(prefix="bench-probe-", dir="/dev/shm") as name:
        folder = Path(name)
        (folder / "cgroups").mkdir()
        with _host(scenario, folder) as (ids, groups):
            async with (
                serving(folder / "docker.sock") as engine,
                receiving() as app,
                _connections(scenario.connections),
            ):
                for number, (id_, pid) in enumerate(ids.items()):
                    engine.containers[id_] = _container(id_, pid, number)
                settings = {
                    "apps": [app.url],
                    "host": "bench",
                    "collectors": [
                        "host",
                        "container",
                        "process",
                        "mesos_container",
                        "connections",
                    ],
                    "docker_host": engine.address,
                    "cgroups": str(groups.root),
                    "status_socket": str(folder / "agent.sock"),
                }
                async with agent(folder, settings) as pid:
                    return await _measure(scenario, folder, app, engine, groups, pid)


async def _measure(  # noqa: PLR0917 - the whole stage
    scenario: Scenario, folder: Path, app: Receiver, engine: FakeEngine, groups: Groups, pid: int
) -> Result:
    def settled() -> bool:
        return len(app.nodes("container")) == scenario.containers and bool(app.nodes("process"))

    await until(settled, "all containers are told of", START_S)
    moving = asyncio.create_task(_move(groups, _chance(scenario.seed)))
    kinds = ("container", "process", "connection", "endpoint")
    result = await observe(pid, app, kinds, warm_s=scenario.warm_s, window_s=scenario.window_s)
    moving.cancel()
    if scenario.events:
        result.event_ms = await _events(scenario, app, engine)
    if scenario.short:
        await _short(scenario, app, result)
    await ask_agent(folder, result)
    return result


async def observe(
    pid: int, app: Receiver, topologies: Sequence[str], *, warm_s: float, window_s: float
) -> Result:
    """What an agent takes for a while, after it has worked for another."""
    await asyncio.sleep(warm_s)
    first_frame = len(app.sizes)
    began, cpu, rss = time.monotonic(), processor_s(pid), [resident_mb(pid)]
    while time.monotonic() - began < window_s:
        await asyncio.sleep(1)
        rss.append(resident_mb(pid))
    elapsed = time.monotonic() - began
    return Result(
        cpu_percent=100 * (processor_s(pid) - cpu) / elapsed,
        rss_mb=max(rss),
        bytes_per_s=sum(app.sizes[first_frame:]) / elapsed,
        reports=len(app.sizes) - first_frame,
        nodes={name: len(app.nodes(name)) for name in topologies},
    )


async def _move(groups: Groups, chance: random.Random) -> None:
    while True:
        groups.move(chance)
        await asyncio.sleep(1)


async def _events(scenario: Scenario, app: Receiver, engine: FakeEngine) -> list[float]:
    """How long it takes from an event to the report that tells of it."""
    chance = _chance(scenario.seed + 1)
    took: list[float] = []
    loop = asyncio.get_running_loop()
    for number in range(scenario.events):
        id_ = f"{chance.getrandbits(256):064x}"
        engine.put(_container(id_, 0, number))
        begun = loop.time()

        def told(wanted: str = id_) -> bool:
            return wanted in app.nodes("container")

        await until(told, "a container is told of")
        took.append(1000 * (app.times[-1] - begun))
        engine.remove(id_)
        await asyncio.sleep(0.05 + chance.random() * 0.15)
    return took


async def _reports(app: Receiver, count: int) -> None:
    """Wait for some more reports: what happened before stands in the last of them."""
    upto = len(app.sizes) + count
    await until(lambda: len(app.sizes) >= upto, f"{count} more reports", START_S)


async def _short(scenario: Scenario, app: Receiver, result: Result) -> None:
    """Connections of 100 ms to servers that stay, each with an edge of its own to be found."""
    before = set(app.nodes("connection"))
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(scenario.short)]
    ports = {one.getsockname()[1] for one in servers}
    await _reports(app, 2)
    for server in servers:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        client.send(b"x")
        asyncio.get_running_loop().call_later(0.1, _end, client, accepted)
        await asyncio.sleep(0.02)
    await _reports(app, 3)
    fresh = [v for id_, v in app.nodes("connection").items() if id_ not in before]
    seen = {edge["server_port"] for edge in fresh}
    result.wanted, result.found = len(ports), len(seen & ports)
    # Whoever talks to the agent's own app is known, and nobody else is here.
    result.false = len(seen - ports - {app.port})
    for server in servers:
        server.close()


def _end(client: socket.socket, accepted: socket.socket) -> None:
    accepted.recv(1)  # What is left unread would reset the connection: it would leave no trace.
    client.close()
    accepted.close()


async def ask_agent(folder: Path, result: Result) -> None:
    """Add what the agent says of itself."""

    async def answer() -> Status | None:
        try:
            return await ask(str(folder / "agent.sock"))
        except NotRunningError:  # A machine too busy to answer in time.
            return None

    status = await until(answer, "the agent says what it costs", 60)
    result.degraded = status.degraded
    result.collectors = {one.name: one.cpu_ms_per_s for one in status.collectors}
    result.modes = {one.name: one.mode for one in status.collectors}


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(values, n=20)[-1] if len(values) > 1 else values[0]


if __name__ == "__main__":
    measured = asyncio.run(run(Scenario(**json.loads(sys.argv[1]))))
    sys.stdout.write(f"{json.dumps(asdict(measured))}\n")
