"""What a probe tells of containers of a real engine, and what it tells when that is away."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from probe.agent.collector import State
from probe.agent.collectors.container import ContainerCollector
from probe.agent.log import Log
from probe.agent.redaction import REDACTED
from probe.agent.runner import Runner
from probe.agent.site import Site
from tests.docker.engine import IMAGE, DockerEngine
from tests.probe.sites import News, site
from tests.waiting import until

pytestmark = pytest.mark.timeout(600)

# A busy machine takes seconds to start a container.
BOUND_S = 60.0
SECOND_NS = 1_000_000_000
_CROWD = 60
_AT_ONCE = 6


class Looking:
    """A collector at work, and what it tells."""

    def __init__(self, engine: DockerEngine) -> None:
        self.engine = engine
        self.news = News()
        self.site: Site = site(clock=asyncio.get_running_loop().time, urgent=self.news)
        self.runner = Runner(
            self.site,
            {"container": lambda place: ContainerCollector(place, engine.address)},
            Log(),
        )

    @property
    def state(self) -> State | None:
        work = self.runner.work.get("container")
        return None if work is None else work.capability.state

    def node(self, id_: str) -> dict[str, Any] | None:
        table = self.site.ledger["container"]
        return dict(table.node(id_)) if id_ in table else None

    async def told(self, id_: str, **values: Any) -> dict[str, Any]:
        """Wait until a container is told of in full, with these values: an event alone tells its
        name and state, until it was looked at."""

        def find() -> dict[str, Any] | None:
            node = self.node(id_)
            if node is None or "command" not in node or not values.items() <= node.items():
                return None
            return node if node["state"] != "running" or "pid" in node else None

        return await until(find, f"{values} of {self.node(id_)}", BOUND_S)

    async def gone(self, id_: str) -> None:
        await until(lambda: self.node(id_) is None, "it is told of no more", BOUND_S)

    async def do(self, work: Any, *given: Any, **more: Any) -> Any:
        """Ask the engine for something, while the collector goes on."""
        return await asyncio.to_thread(work, *given, **more)


@contextlib.asynccontextmanager
async def looking(engine: DockerEngine) -> AsyncGenerator[Looking]:
    world = Looking(engine)
    working = asyncio.create_task(world.runner.run())
    try:
        await until(lambda: world.state is State.FULL, "it looks", BOUND_S)
        yield world
    finally:
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
        assert world.site.files.used == 0


async def test_a_container_is_told_of_with_all_that_it_is(engine: DockerEngine) -> None:
    async with looking(engine) as world:
        id_ = await world.do(
            engine.run,
            "web",
            *("sh", "-c", "sleep 1000", "sh", "--password", "hunter2"),
            Labels={"app": "shop", "db.password": "hunter2"},
            ExposedPorts={"80/tcp": {}, "9/udp": {}},
            HostConfig={
                "NanoCpus": 500_000_000,
                "Memory": 64 * 1024 * 1024,
                "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18080"}]},
            },
        )
        node = await world.told(id_, state="running")

        known = await world.do(engine.inspect, id_)
        assert node["pid"] == known["State"]["Pid"]
        assert (node["name"], node["image_name"], node["runtime"]) == ("web", IMAGE, "docker")
        assert node["image"] == known["Image"]
        image = world.site.ledger["container_image"].node(node["image"])
        assert image["tags"] == [IMAGE]
        assert node["labels"] == ["app=shop", f"db.password={REDACTED}"]
        assert "hunter2" not in repr(node)
        assert node["ports"] == ["127.0.0.1:18080->80/tcp", "9/udp"]
        assert node["networks"] == ["bridge"]
        assert node["addresses"] == [known["NetworkSettings"]["IPAddress"]]
        assert node["host_network"] is False
        assert node["created_ms"] <= node["started_ms"]
        limited = await world.told(id_, memory_limit_bytes=64 * 1024 * 1024)
        assert limited["cpu_limit_percent"] == 50
        await until(lambda: "memory_bytes" in (world.node(id_) or {}), "its use is told", BOUND_S)
        assert world.site.containers[id_].namespace == namespace_of(node["pid"])


async def test_every_change_of_a_container_is_followed(engine: DockerEngine) -> None:
    async with looking(engine) as world:
        id_ = await world.do(engine.create, "one")
        await world.told(id_, state="created")
        await world.do(engine.ask, "POST", f"/containers/{id_}/start")
        await world.told(id_, state="running")
        await world.do(engine.ask, "POST", f"/containers/{id_}/pause")
        await world.told(id_, state="paused")
        await world.do(engine.ask, "POST", f"/containers/{id_}/unpause")
        await world.told(id_, state="running")
        await world.do(engine.ask, "POST", f"/containers/{id_}/rename?name=another")
        await world.told(id_, name="another")
        limits = {"Memory": 48 * 1024 * 1024, "MemorySwap": 96 * 1024 * 1024}
        await world.do(engine.ask, "POST", f"/containers/{id_}/update", limits)
        await world.told(id_, memory_limit_bytes=48 * 1024 * 1024)
        await world.do(engine.ask, "POST", f"/containers/{id_}/kill")
        ended = await world.told(id_, state="exited", exit_code=137)
        assert "pid" not in ended
        assert "memory_bytes" not in ended
        assert world.site.containers == {}
        await world.do(engine.destroy, id_)
        await world.gone(id_)


async def test_health_is_followed(engine: DockerEngine) -> None:
    check = {"Test": ["CMD", "test", "-e", "/well"], "Interval": SECOND_NS, "Retries": 1}
    async with looking(engine) as world:
        words = ("sh", "-c", "sleep 2; touch /well; sleep 4; rm /well; sleep 1000")
        check |= {"StartPeriod": 60 * SECOND_NS}
        id_ = await world.do(engine.run, "checked", *words, Healthcheck=check)
        await world.told(id_, health="starting")
        await world.told(id_, health="healthy")
        await world.told(id_, health="unhealthy")


async def test_restarts_are_counted(engine: DockerEngine) -> None:
    policy = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}
    async with looking(engine) as world:
        id_ = await world.do(engine.run, "failing", "false", HostConfig=policy)
        await world.told(id_, restarts=2, state="exited", exit_code=1)


async def test_networks_that_it_is_attached_to_later_are_told(engine: DockerEngine) -> None:
    async with looking(engine) as world:
        id_ = await world.do(engine.run, "attached")
        await world.told(id_, networks=["bridge"])
        made = await world.do(engine.ask, "POST", "/networks/create", {"Name": "apart"})
        path = f"/networks/{made['Id']}"
        await world.do(engine.ask, "POST", f"{path}/connect", {"Container": id_})
        node = await world.told(id_, networks=["apart", "bridge"])
        assert len(node["addresses"]) == 2
        assert world.site.containers[id_].addresses == tuple(node["addresses"])
        await world.do(engine.ask, "POST", f"{path}/disconnect", {"Container": id_})
        await world.told(id_, networks=["bridge"])
        await world.do(engine.ask, "DELETE", path)


async def test_a_container_on_the_network_of_its_host_has_no_namespace(
    engine: DockerEngine,
) -> None:
    async with looking(engine) as world:
        id_ = await world.do(engine.run, "hosted", HostConfig={"NetworkMode": "host"})
        node = await world.told(id_, state="running", host_network=True)

        assert "addresses" not in node or node["addresses"] == []


def namespace_of(pid: int) -> int:
    return Path(f"/proc/{pid}/ns/net").stat().st_ino


def namespaces_held() -> list[str]:
    """Network namespaces that this process keeps alive by an open file."""
    held: list[str] = []
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # The listing's own.
            held.append(str(file.readlink()))
    return [name for name in held if name.startswith("net:") or "/net/" in name]


def _come_and_go(engine: DockerEngine, number: int) -> str:
    """One container, of three kinds: removed while it runs, after its end, or by the engine."""
    how: dict[str, Any] = {"NetworkMode": "bridge" if number % 4 == 0 else "none"}
    if number % 3 == 2:
        id_ = engine.create(
            f"crowd-{number}", "sleep", "0.5", HostConfig={**how, "AutoRemove": True}
        )
    else:
        lasting = "1000" if number % 3 else "0.2"
        id_ = engine.create(f"crowd-{number}", "sleep", lasting, HostConfig=how)
    engine.ask("POST", f"/containers/{id_}/start")
    if number % 3 != 2:
        engine.destroy(id_)
    return id_


async def test_sixty_that_come_and_go_are_all_seen_and_none_is_left(engine: DockerEngine) -> None:
    async with looking(engine) as world:
        seen: set[str] = set()
        put = world.site.ledger["container"].put

        def noting(id_: str, /, **values: Any) -> int:
            seen.add(id_)
            return put(id_, **values)

        world.site.ledger["container"].put = noting  # type: ignore[method-assign] - notes what is told
        with ThreadPoolExecutor(_AT_ONCE) as crowd:
            loop = asyncio.get_running_loop()
            ids = await asyncio.gather(
                *(loop.run_in_executor(crowd, _come_and_go, engine, n) for n in range(_CROWD))
            )

        await until(lambda: not len(world.site.ledger["container"]), "all are gone", BOUND_S)
        assert set(ids) - seen == set()
        assert world.site.containers == {}
        assert world.site.files.used == 0
        assert namespaces_held() == []
        assert world.runner.work["container"].failures == 0


async def test_an_engine_that_is_restarted_is_found_again(engine: DockerEngine) -> None:
    async with looking(engine) as world:
        kept = await world.do(engine.run, "kept")
        ended = await world.do(engine.run, "ended")
        removed = await world.do(engine.create, "removed")
        for id_ in (kept, ended, removed):
            await until(lambda one=id_: world.node(one), "it is told of", BOUND_S)
        pid = (await world.told(kept, state="running"))["pid"]

        await world.do(engine.stop)
        await until(lambda: world.state is State.ABSENT, "the engine is missed", BOUND_S)
        assert world.node(kept) is not None, "its process lives"
        assert world.node(removed) is None, "nobody knows whether it is there"
        os.kill((await world.told(ended))["pid"], 9)
        await world.do(engine.start)

        await until(lambda: world.state is State.FULL, "the engine is back", BOUND_S)
        assert (await world.told(kept, state="running"))["pid"] == pid
        await world.told(ended, state="exited")
        await world.told(removed, state="created")
        fresh = await world.do(engine.run, "fresh")
        await world.told(fresh, state="running")


async def test_an_engine_that_hangs_stops_nothing_and_is_followed_when_it_goes_on(
    engine: DockerEngine,
) -> None:
    async with looking(engine) as world:
        id_ = await world.do(engine.run, "one")
        await world.told(id_, state="running")
        looks = world.runner.work["container"].looks
        engine.hang()
        try:
            await until(
                lambda: world.runner.work["container"].looks >= looks + 2, "it looks on", BOUND_S
            )
            assert "memory_bytes" in await world.told(id_)
        finally:
            engine.go_on()
        await world.do(engine.destroy, id_)
        await world.gone(id_)
