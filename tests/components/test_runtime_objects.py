"""Run-time objects as Pulumi sees them: a preview asks nobody, a move of the endpoint calls nobody,
a refresh sees changes by hand, and each failure says what was expected, seen and to be done.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest
from pulumi.runtime.rpc import UNKNOWN

from clients.mesos import OperatorClient
from clients.mesos.model import Machine, Window
from components.errors import (
    AlreadyThereError,
    ComponentError,
    DrainTimeoutError,
    NotConvergedError,
    ObjectError,
)
from components.marathon.app import AppArgs, MarathonApp
from components.marathon.endpoint import MarathonEndpoint
from components.marathon.group import GroupArgs, MarathonGroup
from components.marathon.versions import ServiceArgs
from components.mesos import drain as drain_module
from components.mesos import quota as quota_module
from components.mesos import schedule as schedule_module
from components.mesos.drain import AgentDrain, DrainArgs, DrainProvider, DrainSession
from components.mesos.endpoint import MesosEndpoint
from components.mesos.quota import Quota, QuotaArgs, QuotaProvider
from components.mesos.schedule import MaintenanceSchedule, ScheduleArgs, ScheduleProvider
from components.mesos.weight import Weight, WeightArgs, WeightProvider
from tests.clients.scripted import Answer, Scripted
from tests.components.conftest import Run
from tests.fixtures.mesos import load

MASTERS = ["127.0.0.1:5050", "127.0.0.1:5051"]
BLUE = MesosEndpoint("prod", MASTERS, "run/secrets/mesos-operator")
GREEN = MesosEndpoint("prod", ["127.0.0.1:6050"], "run/secrets/mesos-operator")
MARATHON = MarathonEndpoint("prod", ["127.0.0.1:8080"])
Props = dict[str, Any]


def props(args: Any, endpoint: Any = BLUE) -> Props:
    return {"endpoint": endpoint.properties, "spec": args.properties}


class Registry(Scripted):
    """A master that remembers quota; what its operator did by hand is written to `quota`."""

    def __init__(self, **answers: Sequence[Answer]) -> None:
        self.quota: dict[str, Any] = {}
        super().__init__(
            **{"GET_QUOTA": [self.get], "UPDATE_QUOTA": [self.update], **answers},
        )

    def get(self, _: httpx.Request) -> httpx.Response:
        configs = [{"role": role, **quota} for role, quota in self.quota.items()]
        status = {"status": {"configs": configs}}
        return httpx.Response(200, json={"type": "GET_QUOTA", "get_quota": status})

    def update(self, request: httpx.Request) -> httpx.Response:
        for config in json.loads(request.content)["update_quota"]["quota_configs"]:
            role = config.pop("role")
            self.quota[role] = config
        return httpx.Response(200)


@pytest.fixture(autouse=True)
def traces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider's error shortens the traces of its process, which is this one here."""
    monkeypatch.setattr(sys, "tracebacklimit", 1000, raising=False)


@pytest.fixture
def master(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Every quota resource talks to this one."""
    registry = Registry()
    use_master(monkeypatch, quota_module, registry)
    return registry


def use_master(monkeypatch: pytest.MonkeyPatch, module: Any, scripted: Scripted) -> None:
    def connect(endpoint: Props) -> OperatorClient:
        transport = httpx.MockTransport(scripted)
        return OperatorClient(endpoint["addresses"], transport=transport, timeout_s=0.3)

    monkeypatch.setattr(module, "connect", connect)


APP = AppArgs({"id": "a", "cmd": "sleep 1", "instances": 2}, timeout_s=5)
QUOTA = QuotaArgs("dev", limits={"cpus": 10, "mem": 2048})


def made(provider: Any, given: Props) -> Props:
    outs = provider.create(given).outs
    assert outs is not None
    return outs


def test_a_quota_lives_its_life(master: Registry) -> None:
    provider = QuotaProvider()
    assert provider.create(props(QUOTA)).id == "prod/dev"
    state = made(provider, props(QUOTA))
    assert master.quota["dev"]["limits"] == {"cpus": {"value": 10.0}, "mem": {"value": 2048.0}}
    assert master.kinds.count("UPDATE_QUOTA") == 1, "what is so already is not written again"
    assert not provider.diff("", state, props(QUOTA)).changes

    less = QuotaArgs("dev", limits={"cpus": 5})
    assert provider.diff("", state, props(less)).changes
    state = provider.update("", state, props(less)).outs
    assert master.quota["dev"]["limits"] == {"cpus": {"value": 5.0}}

    assert state is not None
    provider.delete("", state)
    assert master.quota["dev"] == {}
    provider.delete("", state)
    assert master.kinds.count("UPDATE_QUOTA") == 3


def test_a_change_by_hand_is_seen_and_mended(master: Registry) -> None:
    provider = QuotaProvider()
    state = made(provider, props(QUOTA))
    master.quota["dev"] = {"limits": {"cpus": {"value": 1.0}}}
    seen = provider.read("prod/dev", state).outs
    assert seen is not None
    assert seen["observed"] == {"limits": {"cpus": 1.0}, "guarantees": {}}
    assert provider.diff("", seen, props(QUOTA)).changes
    provider.update("", seen, props(QUOTA))
    assert master.quota["dev"]["limits"]["cpus"] == {"value": 10.0}
    master.quota["dev"] = {}
    assert provider.read("prod/dev", state).id == "", "cleared by hand is gone"


def test_a_change_of_endpoint_makes_no_call(master: Registry) -> None:
    provider = QuotaProvider()
    state = made(provider, props(QUOTA))
    before = list(master.kinds)
    change = provider.diff("", state, props(QUOTA, GREEN))
    assert change.changes
    assert not change.replaces
    moved = provider.update("", state, props(QUOTA, GREEN)).outs
    assert moved is not None
    assert moved["endpoint"]["addresses"] == ["127.0.0.1:6050"]
    assert master.kinds == before


def test_checks_and_diffs_ask_nobody_and_refuse_what_no_cluster_can_have() -> None:
    for args, told in [
        (QuotaArgs("dev", {"cpus": 1}, {"cpus": 5}), "within its limit"),
        (QuotaArgs("eng/prod", {"cpus": 1}), "top-level"),
        (QuotaArgs("dev", {"cpus": -1}), "at least 0"),
        (QuotaArgs("dev"), "saw neither"),
        (QuotaArgs("", {"cpus": 1}), "expected a role"),
    ]:
        (failure,) = QuotaProvider().check({}, props(args)).failures or []
        assert told in failure.reason
    (failure,) = WeightProvider().check({}, props(WeightArgs("dev", 0))).failures or []
    assert "above 0" in failure.reason
    twice = ScheduleArgs([Window((Machine("a"),), 1), Window((Machine("A"),), 2)])
    (failure,) = ScheduleProvider().check({}, props(twice)).failures or []
    assert "one window" in failure.reason
    (failure,) = QuotaProvider().check({}, props(QUOTA, MesosEndpoint("", MASTERS))).failures or []
    assert "cluster's name" in failure.reason


def test_what_a_preview_does_not_know_yet_is_checked_later() -> None:
    unknown = props(QUOTA, MesosEndpoint("prod", UNKNOWN))
    provider = QuotaProvider()
    assert not provider.check({}, unknown).failures
    state = {**props(QUOTA), "observed": provider.expected(provider.read_spec(QUOTA.properties))}
    change = provider.diff("", state, unknown)
    assert (change.changes, change.replaces) == (True, None)


def test_another_role_or_cluster_is_another_object() -> None:
    state = {
        **props(QUOTA),
        "observed": QuotaProvider().expected(QuotaProvider().read_spec(QUOTA.properties)),
    }
    other_role = props(QuotaArgs("ops", limits={"cpus": 1}))
    other_cluster = props(QUOTA, MesosEndpoint("test", MASTERS))
    for new in (other_role, other_cluster):
        assert QuotaProvider().diff("", state, new).replaces == ["spec"]


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (
            {"UPDATE_QUOTA": [httpx.Response(400, text=load("quota_overcommit_guarantee").body)]},
            "exceed cluster capacity",
        ),
        (
            {"GET_QUOTA": [httpx.Response(401, headers={"www-authenticate": "Basic realm=m"})]},
            "credential file",
        ),
        ({"GET_QUOTA": [httpx.Response(200, text="<html>")]}, "is this a master"),
        (
            {"GET_QUOTA": [httpx.Response(307, headers={"location": "//127.0.0.1:6050"})]},
            "follow another cluster",
        ),
        ({"GET_QUOTA": [httpx.Response(503)]}, "expected a leader"),
    ],
)
def test_what_goes_wrong_is_told_and_nothing_is_written_twice(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, Sequence[Answer]], told: str
) -> None:
    registry = Registry(**answers)
    use_master(monkeypatch, quota_module, registry)
    with pytest.raises(ObjectError, match=told) as caught:
        QuotaProvider().create(props(QUOTA))
    assert "expected" in str(caught.value)
    assert registry.kinds.count("UPDATE_QUOTA") <= 1


def test_somebody_who_writes_it_back_is_noticed_after_a_few_rounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = Registry(UPDATE_QUOTA=[httpx.Response(200)])
    use_master(monkeypatch, quota_module, registry)
    with pytest.raises(NotConvergedError, match="who else writes it"):
        QuotaProvider().create(props(QUOTA))
    assert registry.kinds.count("UPDATE_QUOTA") == 3


def test_a_quota_of_somebody_else_is_refused(master: Registry) -> None:
    master.quota["dev"] = {"limits": {"cpus": {"value": 1.0}}}
    with pytest.raises(AlreadyThereError, match="adopt=True"):
        QuotaProvider().create(props(QUOTA))
    assert master.writes.count("UPDATE_QUOTA") == 0


def test_a_schedule_is_read_back_and_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window((Machine("h1", "10.0.0.1"),), 1795460000000000001, 3600000000000)
    written: list[Any] = []

    def get(_: httpx.Request) -> httpx.Response:
        # The first write is lost to somebody who wrote an empty schedule after it.
        nothing: Props = {"windows": []}
        body: Props = {"schedule": written[-1] if len(written) > 1 else nothing}
        return httpx.Response(
            200, json={"type": "GET_MAINTENANCE_SCHEDULE", "get_maintenance_schedule": body}
        )

    def update(request: httpx.Request) -> httpx.Response:
        written.append(json.loads(request.content)["update_maintenance_schedule"]["schedule"])
        return httpx.Response(200)

    status: Props = {"type": "GET_MAINTENANCE_STATUS", "get_maintenance_status": {"status": {}}}
    master = Scripted(
        GET_MAINTENANCE_SCHEDULE=[get],
        GET_MAINTENANCE_STATUS=[httpx.Response(200, json=status)],
        UPDATE_MAINTENANCE_SCHEDULE=[update],
    )
    use_master(monkeypatch, schedule_module, master)
    given = props(ScheduleArgs([window]))
    state = made(ScheduleProvider(), given)
    assert len(written) == 2
    start = written[1]["windows"][0]["unavailability"]["start"]
    assert start == {"nanoseconds": 1795460000000000001}, "no digit is lost on the way"
    assert not ScheduleProvider().diff("", state, given).changes


def agents(**fields: Any) -> httpx.Response:
    body = load("get_agents").json
    body["get_agents"]["agents"][0].update(fields)
    return httpx.Response(200, json=body)


AGENT_ID = load("get_agents").json["get_agents"]["agents"][0]["agent_info"]["id"]["value"]
DRAINING = agents(deactivated=True, drain_info={"state": "DRAINING"})
DRAINED = agents(deactivated=True, drain_info={"state": "DRAINED"})


def use_fast_drains(monkeypatch: pytest.MonkeyPatch, scripted: Scripted) -> None:
    use_master(monkeypatch, drain_module, scripted)
    original = DrainSession.__init__

    def init(self: DrainSession, client: OperatorClient) -> None:
        original(self, client, poll_s=0.01)

    monkeypatch.setattr(DrainSession, "__init__", init)


def test_a_drain_is_waited_for_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    master = Scripted(
        GET_AGENTS=[agents(), DRAINING, DRAINING, DRAINED],
        DRAIN_AGENT=[httpx.Response(200)],
        REACTIVATE_AGENT=[lambda _: reactivated(master)],
    )
    use_fast_drains(monkeypatch, master)
    args = DrainArgs(AGENT_ID, max_grace_period_s=3)
    state = made(DrainProvider(), props(args))
    assert state["observed"] == {"state": "DRAINED"}
    assert dict(master.asked)["DRAIN_AGENT"]["drain_agent"]["mark_gone"] is False
    DrainProvider().delete("", state)
    assert master.kinds.count("DRAIN_AGENT") == 1
    assert master.kinds.count("REACTIVATE_AGENT") == 1


def reactivated(master: Scripted) -> httpx.Response:
    master.answers["GET_AGENTS"] = [agents()]
    return httpx.Response(200)


def test_an_agent_that_comes_back_without_its_drain_is_drained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = load("get_agents").json
    info = body["get_agents"]["agents"].pop(0)["agent_info"]
    body["get_agents"]["recovered_agents"] = [info]
    master = Scripted(
        GET_AGENTS=[httpx.Response(200, json=body), agents(), agents(), DRAINED],
        DRAIN_AGENT=[httpx.Response(200)],
    )
    use_fast_drains(monkeypatch, master)
    made(DrainProvider(), props(DrainArgs(AGENT_ID)))
    assert master.writes == ["GET_AGENTS"] * 3 + ["DRAIN_AGENT"] + ["GET_AGENTS"] * 2


def test_a_drain_has_a_deadline_and_says_who_blocks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = {"type": "GET_TASKS", "get_tasks": {"tasks": [task_on(AGENT_ID)]}}
    master = Scripted(
        GET_AGENTS=[agents(), DRAINING],
        DRAIN_AGENT=[httpx.Response(200)],
        GET_TASKS=[httpx.Response(200, json=tasks)],
    )
    use_fast_drains(monkeypatch, master)
    with pytest.raises(DrainTimeoutError, match="1 tasks of frameworks f-1") as caught:
        DrainProvider().create(props(DrainArgs(AGENT_ID, timeout_s=0.05)))
    assert "cannot be stopped" in str(caught.value)
    assert master.kinds.count("DRAIN_AGENT") == 1


def task_on(agent_id: str) -> dict[str, Any]:
    return {
        "task_id": {"value": "t"},
        "framework_id": {"value": "f-1"},
        "agent_id": {"value": agent_id},
        "state": "TASK_KILLING",
    }


# As Pulumi's program declares them


def test_resources_hold_references_and_no_secrets(run: Run) -> None:
    window = Window((Machine("h1", "10.0.0.1"),), 1, 2)
    makers: list[Callable[[], Any]] = [
        lambda: Quota("dev-quota", QUOTA, BLUE),
        lambda: Weight("dev-weight", WeightArgs("dev", 2), BLUE),
        lambda: MaintenanceSchedule("schedule", ScheduleArgs([window]), BLUE),
        lambda: AgentDrain("drain", DrainArgs("S0"), BLUE),
        lambda: MarathonApp("app", APP, MARATHON),
        lambda: MarathonGroup("group", GroupArgs({"id": "/g", "apps": []}), MARATHON),
    ]

    def program() -> None:
        for make in makers:
            make()

    recorder = run(program)
    assert recorder.named("dev-quota", "mesos:Quota").inputs == props(QUOTA)
    assert recorder.named("schedule").inputs["spec"]["windows"][0]["start_ns"] == "1"
    assert recorder.named("drain").inputs["spec"]["mark_gone"] == ""
    assert len(recorder.resources) == len(makers)
    for resource in recorder.resources:
        endpoint = resource.inputs["endpoint"]
        assert set(endpoint) <= {"cluster", "addresses", "credential_file", "ca_file", "any_leader"}


def test_errors_stand_in_the_components_tree() -> None:
    assert issubclass(ObjectError, ComponentError)


def test_a_preview_of_any_of_them_loads_no_http_library() -> None:
    kinds = [AppArgs, GroupArgs, QuotaArgs, WeightArgs, ScheduleArgs, DrainArgs, ServiceArgs]
    modules = sorted({kind.__module__ for kind in kinds})
    program = f"import sys, {', '.join(modules)}; print('httpx' in sys.modules)"

    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert said.stdout.strip() == "False"
