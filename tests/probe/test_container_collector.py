"""Containers of an engine on a socket: listed, followed by events, measured by cgroup files."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import pytest

from probe.agent.collector import State
from probe.agent.collectors.connections import ConnectionsCollector
from probe.agent.collectors.container import ContainerCollector
from probe.agent.docker import Engine
from probe.agent.errors import AbsentError, AgentError, UnreachableError
from probe.agent.files import read
from probe.agent.redaction import REDACTED
from probe.agent.site import Site
from tests.probe.docker_engine import FakeEngine, container, serving
from tests.probe.sites import Clock, News, site
from tests.waiting import until

A, B, C = "a" * 64, "b" * 64, "c" * 64


class World:
    """An engine, cgroup files made by hand, and a collector that looks at them."""

    def __init__(self, engine: FakeEngine, folder: Path) -> None:
        self.engine = engine
        self.news = News()
        self.clock = Clock()
        self.cgroups = folder / "cgroups"
        self.proc = folder / "proc"
        self.site: Site = site(
            proc=str(self.proc), cgroups=str(self.cgroups), clock=self.clock, urgent=self.news
        )
        self.collector = ContainerCollector(self.site, engine.address)

    def process(self, pid: int, id_: str, *, cpu_ns: int = 0, memory: int = 0) -> None:
        """A process in a cgroup of its own, of version 1."""
        for controller, name, value in (
            ("cpuacct", "cpuacct.usage", cpu_ns),
            ("memory", "memory.usage_in_bytes", memory),
            ("blkio", "blkio.throttle.io_service_bytes", 0),
        ):
            place = self.cgroups / controller / "docker" / id_
            place.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(f"{value}\n")
        place = self.proc / str(pid)
        place.mkdir(parents=True, exist_ok=True)
        names = ("cpuacct", "memory", "blkio")
        (place / "cgroup").write_text("".join(f"1:{n}:/docker/{id_}\n" for n in names))

    def node(self, id_: str) -> dict[str, Any] | None:
        table = self.site.ledger["container"]
        return dict(table.node(id_)) if id_ in table else None

    async def told(self, id_: str, **values: Any) -> dict[str, Any]:
        """Wait until a container is told of, with these values."""

        def find() -> dict[str, Any] | None:
            node = self.node(id_)
            return node if node is not None and values.items() <= node.items() else None

        return await until(find, f"{id_[:4]} with {values}")


@contextlib.asynccontextmanager
async def looking(
    folder: Path, *containers: dict[str, Any], broken: Mapping[str, int | None] | None = None
) -> AsyncGenerator[World]:
    async with serving(folder / "docker.sock") as engine:
        engine.containers = {one["Id"]: one for one in containers}
        engine.broken |= broken or {}
        world = World(engine, folder)
        await world.collector.start()
        try:
            yield world
        finally:
            await world.collector.close()
            assert world.site.files.used == 0


async def test_what_is_there_is_told_of_before_the_first_look(tmp_path: Path) -> None:
    one = container(A, name="web", labels={"app": "x"}, address="172.17.0.2", health="healthy")
    async with looking(tmp_path, one, container(B, image="redis:8")) as world:
        node = world.node(A)

        assert node is not None
        assert node["name"] == "web"
        assert node["image_name"] == "nginx:1.27"
        assert node["runtime"] == "docker"
        assert node["health"] == "healthy"
        assert node["labels"] == ["app=x"]
        assert node["addresses"] == ["172.17.0.2"]
        assert node["ports"] == ["127.0.0.1:8080->80/tcp", "443/tcp"]
        assert node["command"] == "/docker-entrypoint.sh nginx -g daemon off;"
        assert node["created_ms"] < node["started_ms"]
        assert world.node(B) is not None
        image = world.site.ledger["container_image"].node(str(node["image"]))
        assert image["tags"] == ["nginx:1.27"]


async def test_events_add_change_and_remove_containers_and_are_urgent(tmp_path: Path) -> None:
    async with looking(tmp_path) as world:
        world.engine.put(container(A))
        await world.told(A, state="exited")
        world.process(4001, A)
        world.engine.put(container(A, pid=4001))
        await world.told(A, state="running", pid=4001)
        assert world.site.containers[A].pid == 4001
        world.engine.put(container(A), "die")
        await world.told(A, state="exited")
        assert world.site.containers == {}
        world.engine.remove(A)
        await until(lambda: world.node(A) is None, "it is gone")
        assert world.news.count == 4


async def test_counters_are_read_of_running_containers(tmp_path: Path) -> None:
    async with looking(tmp_path) as world:
        world.process(4001, A, cpu_ns=1_000_000_000, memory=4096)
        world.engine.put(container(A, pid=4001))
        await world.told(A, pid=4001)
        world.process(4001, A, cpu_ns=2_500_000_000, memory=8192)
        world.clock.now += 3
        await world.collector.collect()
        node = world.node(A)

        assert node is not None
        assert node["cpu_percent"] == 50.0
        assert node["memory_bytes"] == 8192
        assert world.collector.capability().state is State.FULL


async def test_a_container_that_ends_between_two_reads_harms_nothing(tmp_path: Path) -> None:
    async with looking(tmp_path) as world:
        world.process(4001, A)
        world.engine.put(container(A, pid=4001))
        await world.told(A, pid=4001)
        (world.cgroups / "cpuacct" / "docker" / A / "cpuacct.usage").write_text("")
        await world.collector.collect()
        node = world.node(A)

        assert node is not None
        assert "cpu_percent" not in node
        assert world.site.files.used == 0


async def test_a_container_whose_counters_fail_once_is_still_known(tmp_path: Path) -> None:
    async with looking(tmp_path) as world:
        world.process(4001, A, memory=4096)
        world.engine.put(container(A, pid=4001))
        await world.told(A, memory_bytes=4096)
        file = world.cgroups / "memory" / "docker" / A / "memory.usage_in_bytes"
        file.write_text("")
        await world.collector.collect()

        assert world.site.containers[A].pid == 4001
        assert "memory_bytes" not in (world.node(A) or {})
        assert "1 containers" in world.collector.capability().misses[0].what

        file.write_text("8192\n")
        for _ in range(5):
            world.clock.now += 3
            await world.collector.collect()
        assert (world.node(A) or {})["memory_bytes"] == 8192
        assert world.collector.capability().state is State.FULL


async def test_a_container_with_hundreds_of_interfaces_is_still_known(tmp_path: Path) -> None:
    async with looking(tmp_path) as world:
        world.process(4001, A)
        net = world.proc / "4001" / "net"
        net.mkdir()
        # Lines of 64 bytes, of which any bound of whole kilobytes cuts one behind its first number.
        head = "Inter-|\n face |".ljust(51) + "\n"
        lines = (f"veth{n:04}: 1 0 0 0 0 0 0 0 2".ljust(63) + "\n" for n in range(5_000))
        (net / "dev").write_text(head + "".join(lines))
        (world.proc / "4001" / "ns").mkdir()
        (world.proc / "4001" / "ns" / "net").touch()
        world.engine.put(container(A, pid=4001))
        await world.told(A, pid=4001)
        for _ in range(10):
            world.clock.now += 3
            await world.collector.collect()

        assert A in world.site.containers
        assert world.collector.capability().state is State.FULL


async def test_a_network_that_cannot_be_seen_is_not_taken_for_the_host_s(tmp_path: Path) -> None:
    seen, unseen, on_host = A, B, C
    async with looking(tmp_path) as world:
        for pid, id_ in enumerate((seen, unseen, on_host), 4001):
            world.process(pid, id_)
            (world.proc / str(pid) / "ns").mkdir()
            if id_ == seen:
                (world.proc / str(pid) / "ns" / "net").touch()
            world.engine.put(
                container(id_, pid=pid, network="host" if id_ == on_host else "bridge")
            )
            await world.told(id_, pid=pid)
        known = {id_: world.site.containers[id_] for id_ in (unseen, on_host)}
        assert [one.namespace for one in known.values()] == [None, 0]
        here = site()
        here.containers |= known
        connections = ConnectionsCollector(here)
        await connections.start()
        await connections.collect()
        await connections.close()
        assert "connections inside of 1 containers" in str(connections.capability().misses)


async def test_counters_that_cannot_be_seen_are_missed(tmp_path: Path) -> None:
    async with looking(tmp_path) as world:
        world.engine.put(container(A, pid=4001))
        await world.told(A, pid=4001)
        capability = world.collector.capability()

        assert capability.state is State.PARTIAL
        assert "1 containers" in capability.misses[0].what


async def test_an_engine_that_restarts_is_listed_anew(tmp_path: Path) -> None:
    async with looking(tmp_path, container(A)) as world:
        await world.engine.stop()

        async def ended() -> bool:
            try:
                await world.collector.collect()
            except AgentError:
                return True
            return False

        await until(ended, "the end of events is noticed")
        await world.collector.close()
        world.engine.containers = {B: container(B)}
        await world.engine.start()
        again = ContainerCollector(world.site, world.engine.address)
        await again.start()

        assert world.site.ledger["container"].ids() == [B]
        await again.close()


async def test_no_engine_is_absent_and_says_what_to_do(tmp_path: Path) -> None:
    collector = ContainerCollector(site(), f"unix://{tmp_path}/none.sock")
    with pytest.raises(AbsentError, match="no Docker engine") as raised:
        await collector.start()
    assert "socket" in raised.value.grant
    await collector.close()


async def test_an_engine_that_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("probe.agent.docker._TIMEOUT_S", 0.1)
    async with serving(tmp_path / "docker.sock") as engine:
        engine.hangs = True
        collector = ContainerCollector(site(), engine.address)
        with pytest.raises(AbsentError, match=r"within 0\.1 s"):
            await collector.start()
        await collector.close()


async def test_an_engine_that_hangs_later_is_not_shown_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("probe.agent.docker._TIMEOUT_S", 1.0)
    async with looking(tmp_path, container(A)) as world:
        world.clock.now += 30
        await world.collector.collect()
        world.engine.hangs = True
        world.clock.now += 29
        await world.collector.collect()
        world.clock.now += 1
        with pytest.raises(UnreachableError, match="within"):
            await world.collector.collect()


async def test_the_kernel_looks_after_a_stream_of_a_remote_engine() -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    engine = Engine(f"tcp://127.0.0.1:{port}")
    events = engine.events()
    try:
        assert await anext(events) is None
        rows = [line.split() for line in read("/proc/net/tcp", 1 << 20).decode().splitlines()[1:]]
        # Of the socket whose other end is the engine: what its timer waits for; 2 is keepalive.
        (timer,) = (row[5] for row in rows if row[2].endswith(f":{port:04X}"))
        assert timer.startswith("02:")
    finally:
        await events.aclose()
        await engine.close()
        server.close()


async def test_secrets_in_commands_and_labels_stay_here(tmp_path: Path) -> None:
    one = container(
        A,
        args=["app", "--token", "s3cret", f"{'x ' * 2020}postgres://u:{'s3cret' * 9}@db/x"],
        labels={"db.password": "s3cret", "url": f"{'x ' * 500}postgres://u:{'s3cret' * 9}@db/x"},
        env=["DB_PASSWORD=s3cret"],
    )
    async with looking(tmp_path, one) as world:
        node = world.node(A)

        assert node is not None
        assert "s3cret" not in repr(node)
        assert f"db.password={REDACTED}" in node["labels"]


HOSTILE = [
    {"name": "\x1b[2J" + "x" * 100_000},
    {"labels": {"k" * 100_000: "v" * 1_000_000}},
    {"labels": {str(n): "v" for n in range(5_000)}},
    {"args": ["a" * 1_000_000] * 3},
    {"image": "\u202egnp.exe"},
]


@pytest.mark.parametrize("given", HOSTILE, ids=["name", "label", "labels", "args", "image"])
async def test_hostile_values_are_bounded(tmp_path: Path, given: dict[str, Any]) -> None:
    async with looking(tmp_path, container(A, **given)) as world:
        node = world.node(A)

        assert node is not None
        assert len(repr(node)) < 30_000
        assert "\x1b" not in str(node["name"])
        assert "\u202e" not in str(node["image_name"])


async def test_a_task_of_mesos_is_recognised(tmp_path: Path) -> None:
    env = ["MESOS_FRAMEWORK_ID=F-0000", "MESOS_EXECUTOR_ID=web.1"]
    async with looking(tmp_path, container(A, env=env)) as world:
        node = world.node(A)

        assert node is not None
        assert node["task"] == "F-0000;web.1"


async def test_sixty_containers_come_and_go_and_none_is_left(tmp_path: Path) -> None:
    async with looking(tmp_path) as world:
        ids = [f"{n:064x}" for n in range(60)]
        for number, id_ in enumerate(ids):
            world.process(5_000 + number, id_)
            world.engine.put(container(id_, pid=5_000 + number))
            await asyncio.sleep(0)
        await until(lambda: len(world.site.containers) == 60, "all run")
        await world.collector.collect()
        for id_ in ids:
            world.engine.remove(id_)
        await until(lambda: not len(world.site.ledger["container"]), "all are gone")

        assert world.site.containers == {}
        assert world.site.files.used == 0
