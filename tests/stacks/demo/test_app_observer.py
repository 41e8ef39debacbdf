"""How apps are counted: tasks are asked directly, and live; Marathon's word only takes away."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from stacks.demo import app_observer
from stacks.demo.addresses import Addresses
from stacks.demo.app_observer import AppObserver
from stacks.demo.observations import AppSample, Observations
from stacks.demo.processes import Processes

MARATHON = "127.0.0.1:8080"
FRAMEWORK = "marathon-1"


@dataclass
class Cluster:
    """Tasks by number, each on a port and with a process of that number."""

    tasks: dict[int, str] = field(default_factory=lambda: {1: "/shop/web", 2: "/shop/web"})
    living: set[int] = field(default_factory=lambda: {1, 2, 3})
    answering: set[int] = field(default_factory=lambda: {1, 2, 3})
    ill: set[int] = field(default_factory=set[int])
    is_marathon_away: bool = False
    seen: Observations = field(default_factory=lambda: Observations(app_sizes={"/shop/web": 2}))

    def __post_init__(self) -> None:
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self))
        self.observer = AppObserver(self.seen, self.client)

    def start_time(self, pid: int) -> int | None:
        return 1000 + pid if pid in self.living else None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if f"{request.url.host}:{request.url.port}" != MARATHON:
            assert request.url.port is not None
            return httpx.Response(200 if request.url.port in self.answering else 503)
        if self.is_marathon_away:
            raise httpx.ConnectError("away", request=request)
        if request.url.path == "/v2/info":
            return httpx.Response(
                200, json={"name": "marathon", "version": "1", "frameworkId": FRAMEWORK}
            )
        return httpx.Response(200, json={"tasks": [self.task(n) for n in self.tasks]})

    def task(self, number: int) -> dict[str, Any]:
        results = [{"alive": number not in self.ill}]
        return {
            "id": name_of(number), "appId": self.tasks[number], "state": "TASK_RUNNING",
            "host": "127.0.0.1", "ports": [number], "slaveId": "S0", "version": "v",
            "healthCheckResults": results,
        }  # fmt: skip

    def tell_processes(self) -> None:
        """What agents tell."""
        told = [
            {"id": name_of(n), "pid": n, "state": "TASK_RUNNING", "framework_id": FRAMEWORK}
            for n in self.tasks
        ]
        other = {"id": "sample-1", "pid": 3, "state": "TASK_RUNNING", "framework_id": "sample"}
        self.observer.learn_from_agent({"tasks": [*told, other]})

    async def look(self) -> AppSample:
        await self.observer.look(Addresses(run_dir=Path("/nowhere"), marathon=(MARATHON,)))
        return self.seen.apps[-1]


def name_of(number: int) -> str:
    return f"shop_web.instance-{number}._app.1"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(app_observer, "read_credential", lambda _: None)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType] - takes a path
    monkeypatch.setattr(app_observer, "Processes", lambda: Processes(made.start_time))
    made.observer = AppObserver(made.seen, made.client)
    return made


async def test_nothing_is_said_of_apps_before_marathon_has_answered_once(cluster: Cluster) -> None:
    cluster.is_marathon_away = True
    await cluster.observer.look(Addresses(run_dir=Path("/nowhere"), marathon=(MARATHON,)))

    assert cluster.seen.apps == []


async def test_tasks_are_counted_on_while_marathon_stands_still(cluster: Cluster) -> None:
    await cluster.look()
    cluster.tell_processes()
    before = await cluster.look()
    cluster.is_marathon_away = True
    away = await cluster.look()

    for sample in (before, away):
        assert (sample.healthy, sample.alive) == ({"/shop/web": 2}, {"/shop/web": 2})
        assert sample.pids == {name_of(1): 1, name_of(2): 2}
    assert (before.framework_id, away.framework_id) == (FRAMEWORK, None)


@pytest.mark.parametrize("how", ["dead", "silent", "ill"])
async def test_a_task_that_does_not_serve_is_not_healthy(cluster: Cluster, how: str) -> None:
    await cluster.look()
    cluster.tell_processes()
    match how:
        case "dead":
            cluster.living.discard(1)
        case "silent":
            cluster.answering.discard(1)
        case _:
            cluster.ill.add(1)

    sample = await cluster.look()

    assert sample.healthy == {"/shop/web": 1}
    assert sample.alive == {"/shop/web": 1 if how == "dead" else 2}


async def test_a_replacement_counts_from_the_answer_that_names_it(cluster: Cluster) -> None:
    await cluster.look()
    cluster.tell_processes()
    cluster.living.discard(1)
    del cluster.tasks[1]
    cluster.tasks[3] = "/shop/web"

    first = await cluster.look()
    cluster.tell_processes()
    later = await cluster.look()

    assert first.healthy == later.healthy == {"/shop/web": 2}
    assert later.pids == {name_of(2): 2, name_of(3): 3}
