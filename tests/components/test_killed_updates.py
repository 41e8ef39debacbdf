"""An update that is killed midway leaves no state: the next one creates anew what half exists.

Death comes after a call has been made and before anybody heard its answer, at every call in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from clients.mesos import OperatorClient
from clients.mesos.model import Machine, Window
from components.mesos import drain as drain_module
from components.mesos import quota as quota_module
from components.mesos import schedule as schedule_module
from components.mesos import weight as weight_module
from components.mesos.drain import DrainArgs, DrainProvider, DrainSession
from components.mesos.endpoint import MesosEndpoint
from components.mesos.quota import QuotaArgs, QuotaProvider
from components.mesos.schedule import ScheduleArgs, ScheduleProvider
from components.mesos.weight import WeightArgs, WeightProvider
from tests.clients.scripted import Answer, Scripted
from tests.fixtures.mesos import load

BLUE = MesosEndpoint("prod", ["127.0.0.1:5050"])
WINDOW = Window((Machine("h1", "10.0.0.1"),), 1_795_460_000_000_000_001, 3_600_000_000_000)
QUOTA = QuotaArgs("dev", limits={"cpus": 10, "mem": 2048})
AGENT_ID = load("get_agents").json["get_agents"]["agents"][0]["agent_info"]["id"]["value"]


class KilledError(BaseException):
    """The process is gone; nothing of it handles this."""


class World:
    """What a cluster has become, by the calls that arrived; the caller dies after one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.quota: list[Any] = []
        self.weights: list[Any] = []
        self.schedule: dict[str, Any] = {}
        self.looks_until_drained = 2
        self.drain: str | None = None
        self.dies_after = 0
        self.calls = 0
        answers: dict[str, Answer] = {
            "GET_QUOTA": self._get_quota,
            "UPDATE_QUOTA": self._update_quota,
            "GET_AGENTS": self._get_agents,
            "DRAIN_AGENT": self._drain_agent,
            "GET_WEIGHTS": self._get_weights,
            "UPDATE_WEIGHTS": self._update_weights,
            "GET_MAINTENANCE_SCHEDULE": self._get_schedule,
            "GET_MAINTENANCE_STATUS": self._get_status,
            "UPDATE_MAINTENANCE_SCHEDULE": self._update_schedule,
        }
        self.master = Scripted(**{kind: [self._mortal(a)] for kind, a in answers.items()})
        for module in (quota_module, drain_module, weight_module, schedule_module):
            monkeypatch.setattr(module, "connect", self._connect)

    def _connect(self, endpoint: dict[str, Any]) -> OperatorClient:
        transport = httpx.MockTransport(self.master)
        return OperatorClient(endpoint["addresses"], transport=transport, timeout_s=5)

    def _mortal(self, answer: Any) -> Callable[[httpx.Request], httpx.Response]:
        def answered(request: httpx.Request) -> httpx.Response:
            made: httpx.Response = answer(request)
            self.calls += 1
            if self.calls == self.dies_after:
                raise KilledError
            return made

        return answered

    def _get_quota(self, _: httpx.Request) -> httpx.Response:
        body = {"type": "GET_QUOTA", "get_quota": {"status": {"configs": self.quota}}}
        return httpx.Response(200, json=body)

    def _update_quota(self, _: httpx.Request) -> httpx.Response:
        call = self.master.asked[-1][1]
        self.quota = call["update_quota"]["quota_configs"]
        return httpx.Response(200)

    def _get_weights(self, _: httpx.Request) -> httpx.Response:
        body = {"type": "GET_WEIGHTS", "get_weights": {"weight_infos": self.weights}}
        return httpx.Response(200, json=body)

    def _update_weights(self, _: httpx.Request) -> httpx.Response:
        call = self.master.asked[-1][1]
        self.weights = call["update_weights"]["weight_infos"]
        return httpx.Response(200)

    def _get_schedule(self, _: httpx.Request) -> httpx.Response:
        told = {"schedule": self.schedule}
        body = {"type": "GET_MAINTENANCE_SCHEDULE", "get_maintenance_schedule": told}
        return httpx.Response(200, json=body)

    def _get_status(self, _: httpx.Request) -> httpx.Response:
        body: dict[str, Any] = {"type": "GET_MAINTENANCE_STATUS"}
        return httpx.Response(200, json={**body, "get_maintenance_status": {"status": {}}})

    def _update_schedule(self, _: httpx.Request) -> httpx.Response:
        call = self.master.asked[-1][1]
        self.schedule = call["update_maintenance_schedule"]["schedule"]
        return httpx.Response(200)

    def _get_agents(self, _: httpx.Request) -> httpx.Response:
        body = load("get_agents").json
        if self.drain is not None:
            self.looks_until_drained -= 1
            if self.looks_until_drained <= 0:
                self.drain = "DRAINED"
            fields = {"deactivated": True, "drain_info": {"state": self.drain}}
            body["get_agents"]["agents"][0].update(fields)
        return httpx.Response(200, json=body)

    def _drain_agent(self, _: httpx.Request) -> httpx.Response:
        self.drain = "DRAINING"
        return httpx.Response(200)


@pytest.fixture(autouse=True)
def fast_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    original = DrainSession.__init__

    def init(session: DrainSession, client: OperatorClient) -> None:
        original(session, client, poll_s=0.001)

    monkeypatch.setattr(DrainSession, "__init__", init)


@pytest.mark.parametrize(
    ("provider", "args", "write"),
    [
        (QuotaProvider, QUOTA, "UPDATE_QUOTA"),
        (DrainProvider, DrainArgs(AGENT_ID, max_grace_period_s=3), "DRAIN_AGENT"),
        (WeightProvider, WeightArgs("dev", 2), "UPDATE_WEIGHTS"),
        (ScheduleProvider, ScheduleArgs([WINDOW]), "UPDATE_MAINTENANCE_SCHEDULE"),
    ],
)
def test_what_was_killed_after_any_call_is_finished_and_written_once(
    monkeypatch: pytest.MonkeyPatch, provider: type[Any], args: Any, write: str
) -> None:
    given = {"endpoint": BLUE.properties, "spec": args.properties}
    undisturbed = World(monkeypatch)
    wanted = provider().create(given).outs
    assert undisturbed.calls >= 3
    for call in range(1, undisturbed.calls + 1):
        world = World(monkeypatch)
        world.dies_after = call
        with pytest.raises(KilledError):
            provider().create(given)
        assert provider().create(given).outs == wanted
        assert world.master.kinds.count(write) == 1, f"killed after call {call}"
