"""The stand-in answers as the recorded real master: status, redirect, error text, shape of JSON.

One cluster as the recordings had it serves all tests: a master with two agents and a framework with
four tasks, plus an idle third agent that may be drained. Every test makes the state that its
recording was made in, and takes it back.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import uuid
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from clients.mesos.recordio import Decoder
from tests.fixtures.mesos import AGENT_ID, FOLDER, Exchange, load, names
from tests.local.rig import Rig, make_rig
from tests.waiting import until

START = {"nanoseconds": 1795460000000000000}
HOUR = {"nanoseconds": 3600000000000}
MACHINES = [{"hostname": "h9", "ip": "10.0.0.9"}, {"hostname": "H8"}]
SCHEDULE = {
    "windows": [{"machine_ids": MACHINES, "unavailability": {"start": START, "duration": HOUR}}]
}
SET_WEIGHTS = load("weights_set").call
SET_QUOTA = load("quota_set").call
CLEAR_QUOTA = load("quota_clear").call
SET_SCHEDULE = load("maint_set").call
START_DOWN = load("maint_start").call
STOP_DOWN = load("maint_stop").call
CLEAR_SCHEDULE = load("maint_clear").call
DEACTIVATE = load("deactivate").call
DRAIN = load("drain").call
# What must have been called before, for answers that depend on it.
BEFORE: dict[str, list[Any]] = {
    "weights_get": [SET_WEIGHTS],
    "get_weights": [SET_WEIGHTS],
    "roles_v1": [SET_WEIGHTS],
    "get_roles": [SET_WEIGHTS],
    "quota_get": [SET_QUOTA],
    "quota_get_after_clear": [SET_QUOTA, CLEAR_QUOTA],
    "get_quota": [SET_QUOTA, CLEAR_QUOTA],
    "quota_guar_gt_limit": [CLEAR_QUOTA],
    "maint_get": [SET_SCHEDULE],
    "maint_status": [SET_SCHEDULE],
    "maint_start": [SET_SCHEDULE],
    "maint_status2": [SET_SCHEDULE, START_DOWN],
    "maint_drop_down": [SET_SCHEDULE, START_DOWN],
    "maint_stop": [SET_SCHEDULE, START_DOWN],
    "maint_get2": [SET_SCHEDULE, START_DOWN, STOP_DOWN],
    "reactivate": [DEACTIVATE],
    "reactivate_after": [DRAIN],
    "drain_again": [DRAIN],
}
# Texts that name what a cluster has: numbers differ, words do not.
WITH_NUMBERS = {"quota_default_role_low", "quota_overcommit_guarantee"}
EXACT = {
    "health", "unknown_field", "version", "get_version", "weights_get", "get_weights", "quota_get",
    "maint_get", "maint_get2", "maint_status", "maint_status2", "get_maintenance_schedule",
    "get_maintenance_status", "get_executors", "get_operations",
}  # fmt: skip
ELSEWHERE = {"nonleader", "reactivate_while_draining", "get_metrics", "get_metrics_snapshot"}
# Not counted by the stand-in (docs say so).
UNCOUNTED = re.compile(
    r"master/operations/|/frameworks/probe/|offer_filters|quota/roles//|shares/dominant|"
    r"allocation_run_latency_ms|quota/roles/\*"
)


class Cluster:
    """The stand-in's cluster, in a thread with a loop of its own."""

    def __init__(self, hosts: str, folder: Path) -> None:
        self._hosts = hosts
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()
        self.http = httpx.Client(timeout=10)

    def run(self, work: Awaitable[Any]) -> Any:
        async def wrapped() -> Any:
            return await work

        return asyncio.run_coroutine_threadsafe(wrapped(), self._loop).result(60)

    async def start(self) -> None:
        root = f"/test-{uuid.uuid4().hex[:8]}"
        self.rig: Rig = await self._stack.enter_async_context(
            make_rig(self._hosts, self._folder, root)
        )
        master = await self.rig.masters("blue", 1, allocation_interval_ms=200)
        self.leader = master[0]
        resources = {"cpus": 4, "mem": 2048, "disk": 1000, "ports": [31000, 31100]}
        for number in range(2):
            await self.rig.agent(number=number, resources=resources, attributes={"color": "blue"})
        framework = await self.rig.framework(tasks=4)
        await self.rig.healthy(framework, 4)
        self.idle = await self.rig.agent(
            number=2, resources=resources, attributes={"color": "blue"}
        )
        await until(lambda: self.idle.id, "the idle agent is registered")
        self.follower = await self.rig.master("blue", 1)
        await until(lambda: self.follower.master.leader, "the follower knows the leader")
        # The framework has all it wants: nothing is offered while tests look.
        await until(lambda: not self._leadership().cluster.offers, "no offer is out")

    def _leadership(self) -> Any:
        return self.leader.master.leadership

    def close(self) -> None:
        self.http.close()
        self.run(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def send(self, call: Any, *, follower: bool = False) -> httpx.Response:
        master = self.follower if follower else self.leader
        text = call if isinstance(call, str) else json.dumps(call)
        text = text.replace(AGENT_ID, cast("str", self.idle.id))
        return self.http.post(f"http://{master.address}/api/v1", content=text)

    def get(self, path: str) -> httpx.Response:
        return self.http.get(f"http://{self.leader.address}{path}")

    def reset(self) -> None:
        for call in (STOP_DOWN, CLEAR_SCHEDULE, CLEAR_QUOTA):
            self.send(call)
        body = {"agent_id": {"value": self.idle.id}}
        self.send({"type": "REACTIVATE_AGENT", "reactivate_agent": body})

    def set_draining(self) -> None:
        async def change() -> None:
            agent = self._leadership().cluster.agents[self.idle.id]
            agent.deactivated = True
            agent.drain_info = {"state": "DRAINING", "config": {"mark_gone": False}}

        self.run(change())

    def set_drained(self) -> None:
        async def change() -> None:
            agent = self._leadership().cluster.agents[self.idle.id]
            agent.drain_info = {"state": "DRAINED", "config": {"mark_gone": False}}

        self.run(change())


@pytest.fixture(scope="module")
def shared(zookeeper: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(zookeeper, tmp_path_factory.mktemp("recorded"))
    try:
        cluster.run(cluster.start())
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def cluster(shared: Cluster) -> Iterator[Cluster]:
    yield shared
    shared.reset()


def answer_of(cluster: Cluster, exchange: Exchange) -> httpx.Response:
    for call in BEFORE.get(exchange.name, []):
        assert cluster.send(call).status_code == 200
    return cluster.get(exchange.path) if exchange.call is None else cluster.send(exchange.call)


def shape(value: Any) -> Any:
    """Keys and kinds of a JSON value; a list is what its first element is."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [shape(items[0])] if items else []
    return type(value).__name__


def assert_same_shape(seen: Any, wanted: Any, where: str = "body") -> None:
    """Same keys in the same order and kinds; an empty list says nothing of its elements."""
    if isinstance(wanted, dict) and isinstance(seen, dict):
        fields, found = cast("dict[str, Any]", wanted), cast("dict[str, Any]", seen)
        assert list(found) == list(fields), where
        for key, item in fields.items():
            assert_same_shape(found[key], item, f"{where}.{key}")
    elif isinstance(wanted, list) and isinstance(seen, list):
        items, others = cast("list[Any]", wanted), cast("list[Any]", seen)
        if items and others:
            assert_same_shape(others[0], items[0], f"{where}[]")
    else:
        assert seen == wanted, where


@pytest.mark.parametrize("name", [n for n in names() if n not in ELSEWHERE])
def test_an_answer_is_as_recorded(cluster: Cluster, name: str) -> None:
    exchange = load(name)
    answer = answer_of(cluster, exchange)
    assert answer.status_code == exchange.status, answer.text
    assert answer.headers.get("location") == (
        None if exchange.location is None else f"//{cluster.leader.address}"
    )
    if not exchange.body.startswith(("{", "[")):
        seen, wanted = answer.text, exchange.body
        if name in WITH_NUMBERS:
            seen, wanted = (re.sub(r"[\d.]+", "N", text) for text in (seen, wanted))
        assert seen == wanted
        return
    if name in EXACT:
        assert answer.json() == exchange.json
    assert_same_shape(shape(answer.json()), shape(exchange.json))


def test_a_follower_redirects_a_call(cluster: Cluster) -> None:
    exchange = load("nonleader")
    answer = cluster.send(exchange.call, follower=True)
    assert answer.status_code == exchange.status
    assert answer.headers["location"] == f"//{cluster.leader.address}/master/api/v1"
    assert answer.text == exchange.body


def test_a_draining_agent_cannot_be_reactivated(cluster: Cluster) -> None:
    exchange = load("reactivate_while_draining")
    cluster.set_draining()
    try:
        answer = cluster.send(exchange.call)
    finally:
        cluster.set_drained()
    assert (answer.status_code, answer.text) == (exchange.status, exchange.body)


def test_a_drained_agent_is_shown_as_recorded(cluster: Cluster) -> None:
    wanted = json.loads((FOLDER / "get_agents_drained.json").read_text())
    assert cluster.send(DRAIN).status_code == 200
    agents = cluster.send({"type": "GET_AGENTS"}).json()["get_agents"]["agents"]
    seen = next(a for a in agents if a["agent_info"]["id"]["value"] == cluster.idle.id)
    recorded = wanted["get_agents"]["agents"][1]
    recorded.pop("allocated_resources", None)
    assert_same_shape(shape(seen), shape(recorded))
    assert seen["drain_info"] == recorded["drain_info"]


@pytest.mark.parametrize("name", ["get_metrics", "get_metrics_snapshot"])
def test_metrics_have_the_recorded_names(cluster: Cluster, name: str) -> None:
    def by_name(body: Any) -> dict[str, float]:
        if "get_metrics" in body:
            return {m["name"]: m["value"] for m in body["get_metrics"]["metrics"]}
        return body

    cluster.send(SET_WEIGHTS)  # A store, so that its timer has a sample.
    exchange = load(name)
    seen = by_name(answer_of(cluster, exchange).json())
    missing = {n for n in by_name(exchange.json) if not UNCOUNTED.search(n)} - set(seen)
    assert missing == set()
    assert seen["registrar/log/recovered"] == seen["master/elected"] == 1.0
    assert seen["master/slaves_active"] == 3.0
    assert seen["master/tasks_running"] == 4.0


def test_the_event_stream_begins_as_recorded(cluster: Cluster) -> None:
    recorded = [json.loads(r) for r in Decoder().feed((FOLDER / "subscribe.recordio").read_bytes())]
    decoder = Decoder()
    seen: list[Any] = []
    with cluster.http.stream(
        "POST", f"http://{cluster.leader.address}/api/v1", json={"type": "SUBSCRIBE"}
    ) as response:
        for chunk in response.iter_raw():
            seen += [json.loads(record) for record in decoder.feed(chunk)]
            if len(seen) >= 2:
                break
    assert [event["type"] for event in seen] == ["SUBSCRIBED", "HEARTBEAT"]
    assert_same_shape(shape(seen[0]), shape(recorded[0]))
