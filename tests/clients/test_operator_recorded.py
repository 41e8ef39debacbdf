"""The operator client on exchanges recorded from a real master: every answer is understood."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from clients.mesos import (
    CallRefusedError,
    ForeignLeaderError,
    MesosError,
    NotFoundError,
    OperatorClient,
    ProtocolError,
    events,
)
from clients.mesos.model import DrainState, Machine, MaintenanceSchedule, Quota, Window
from clients.mesos.recordio import Decoder
from tests.clients.scripted import Feed, Scripted, take_all
from tests.fixtures.mesos import AGENT_ID, FOLDER, Exchange, load, names

Call = Callable[[OperatorClient], Awaitable[Any]]
MASTER = "127.0.0.1:15053"
START_NS, HOUR_NS = 1795460000000000000, 3600000000000


class Recorded:
    """Answers with one recorded exchange, and keeps what it was asked."""

    def __init__(self, *exchanges: Exchange) -> None:
        self._exchanges = list(exchanges)
        self.asked: list[Any] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        body = request.content
        self.asked.append(json.loads(body) if body else str(request.url.path))
        exchange = self._exchanges.pop(0) if len(self._exchanges) > 1 else self._exchanges[0]
        headers = {"location": exchange.location} if exchange.location else {}
        return httpx.Response(exchange.status, text=exchange.body, headers=headers)


def client_of(recorded: Recorded, **options: Any) -> OperatorClient:
    transport = httpx.MockTransport(recorded)
    return OperatorClient([MASTER], transport=transport, timeout_s=1, **options)


async def ask(name: str, call: Call) -> tuple[Any, Any]:
    """Make a call that is answered by a recording; returns the result and what was asked."""
    recorded = Recorded(load(name))
    async with client_of(recorded) as client:
        return await call(client), recorded.asked[0]


async def test_agents_are_read() -> None:
    agents, asked = await ask("get_agents", lambda c: c.agents())
    assert asked == load("get_agents").call
    assert [a.id[-2:] for a in agents.registered] == ["S1", "S0"]
    first = agents.registered[0]
    assert first.address == "127.0.0.1:15151"
    assert first.attributes == {"color": "blue"}
    assert first.resources == {"cpus": 4.0, "mem": 2048.0, "disk": 1000.0}
    assert first.ports == ((31000, 31100),)
    assert first.allocated == {"cpus": 0.2, "mem": 64.0}
    assert first.active
    assert first.drain is None


async def test_a_drained_agent_is_read() -> None:
    body = (FOLDER / "get_agents_drained.json").read_text()
    exchange = Exchange("drained", None, "/api/v1", 200, None, body)
    async with client_of(Recorded(exchange)) as client:
        drained = (await client.agents()).registered[1]
    assert drained.deactivated
    assert drained.drain is not None
    assert (drained.drain.state, drained.drain.max_grace_period_s) == (DrainState.DRAINED, 3.0)


async def test_the_state_of_the_event_stream_is_read_with_processes() -> None:
    decoder = Decoder()
    records = [json.loads(r) for r in decoder.feed((FOLDER / "subscribe.recordio").read_bytes())]
    kinds = [record["type"] for record in records]
    assert kinds[:3] == ["SUBSCRIBED", "HEARTBEAT", "TASK_UPDATED"]
    body = {"type": "GET_STATE", "get_state": records[0]["subscribed"]["get_state"]}
    exchange = Exchange("state", None, "/api/v1", 200, None, json.dumps(body))
    async with client_of(Recorded(exchange)) as client:
        state = await client.state()
    assert [(t.id[:2], t.state, t.executor_pid) for t in state.tasks.live] == [
        ("s4", "TASK_RUNNING", 16667),
        ("s3", "TASK_RUNNING", 16666),
        ("s2", "TASK_RUNNING", 16637),
        ("s1", "TASK_RUNNING", 16638),
    ]
    assert {t.role for t in state.tasks.live} == {"*"}
    assert len({t.container_id for t in state.tasks.live if t.container_id}) == len(
        state.tasks.live
    )
    framework = state.frameworks.registered[0]
    assert framework.checkpoint
    assert framework.failover_timeout_s == 3600.0
    assert "PARTITION_AWARE" in framework.capabilities
    assert len(state.agents.registered) == 2


VALUES: list[tuple[str, Call, Any]] = [
    ("health", lambda c: c.health(), True),
    ("unknown_field", lambda c: c.health(), True),
    ("weights_get", lambda c: c.weights(), {"dev": 2.0}),
    (
        "quota_get",
        lambda c: c.quota(),
        (Quota("dev", limits={"cpus": 10.0, "mem": 2048.0}),),
    ),
    ("quota_get_after_clear", lambda c: c.quota(), ()),
    ("get_executors", lambda c: c.executors(), ()),
    ("get_operations", lambda c: c.operations(), ()),
    (
        "maint_get",
        lambda c: c.maintenance_schedule(),
        MaintenanceSchedule(
            (Window((Machine("h9", "10.0.0.9"), Machine("H8")), START_NS, HOUR_NS),)
        ),
    ),
    (
        "maint_get2",
        lambda c: c.maintenance_schedule(),
        MaintenanceSchedule((Window((Machine("H8"),), START_NS, HOUR_NS),)),
    ),
]


@pytest.mark.parametrize(("name", "call", "expected"), VALUES)
async def test_values_are_read_and_normalised(name: str, call: Call, expected: Any) -> None:
    result, asked = await ask(name, call)
    assert result == expected
    recorded = load(name).call
    assert isinstance(recorded, dict)
    assert asked["type"] == recorded["type"]


async def test_maintenance_status_is_read() -> None:
    status, _ = await ask("maint_status2", lambda c: c.maintenance_status())
    assert status.draining == (Machine("H8"),)
    assert status.down == (Machine("h9", "10.0.0.9"),)


async def test_version_master_roles_flags_and_metrics_are_read() -> None:
    version, _ = await ask("version", lambda c: c.version())
    assert version.version == "1.12.0"
    master, _ = await ask("master", lambda c: c.master())
    assert master.address == MASTER
    roles, _ = await ask("roles_v1", lambda c: c.roles())
    assert [(r.name, r.weight) for r in roles] == [("*", 1.0), ("dev", 2.0)]
    flags, _ = await ask("get_flags", lambda c: c.flags(MASTER))
    assert flags["quorum"] == "2"
    metrics, _ = await ask("get_metrics", lambda c: c.metrics())
    assert metrics["registrar/log/recovered"] == 1.0
    local, _ = await ask("get_metrics_snapshot", lambda c: c.metrics(MASTER))
    assert local["master/tasks_running"] == 4.0


SCHEDULE = MaintenanceSchedule(
    (Window((Machine("h9", "10.0.0.9"), Machine("H8")), START_NS, HOUR_NS),)
)


ACCEPTED: list[tuple[str, Call]] = [
    ("weights_set", lambda c: c.update_weights({"dev": 2.0})),
    ("quota_set", lambda c: c.update_quota([Quota("dev", {"cpus": 10, "mem": 2048})])),
    ("maint_set", lambda c: c.update_maintenance_schedule(SCHEDULE)),
    ("maint_clear", lambda c: c.update_maintenance_schedule(MaintenanceSchedule())),
    ("maint_start", lambda c: c.start_maintenance([Machine("h9", "10.0.0.9")])),
    ("maint_stop", lambda c: c.stop_maintenance([Machine("h9", "10.0.0.9")])),
    ("deactivate", lambda c: c.deactivate_agent(AGENT_ID)),
    ("reactivate", lambda c: c.reactivate_agent(AGENT_ID)),
    ("reactivate_after", lambda c: c.reactivate_agent(AGENT_ID)),
]


@pytest.mark.parametrize(("name", "call"), ACCEPTED)
async def test_accepted_calls_are_sent_as_recorded(name: str, call: Call) -> None:
    result, asked = await ask(name, call)
    assert result is None
    assert asked == load(name).call


async def test_a_grace_period_is_sent_as_a_message() -> None:
    _, asked = await ask("drain", lambda c: c.drain_agent(AGENT_ID, max_grace_period_s=3))
    assert asked["drain_agent"]["max_grace_period"] == {"nanoseconds": 3_000_000_000}


async def quota_twice(client: OperatorClient) -> None:
    await client.update_quota([Quota("dev", {"cpus": 1}), Quota("dev", {"cpus": 2})])


async def guarantee_above_limit(client: OperatorClient) -> None:
    await client.update_quota([Quota("dev", {"cpus": 1}, {"cpus": 5})])


async def negative_limit(client: OperatorClient) -> None:
    await client.update_quota([Quota("dev", {"cpus": -1})])


async def nested_role(client: OperatorClient) -> None:
    await client.update_quota([Quota("eng/prod", {"cpus": 1})])


async def the_same_machine_twice(client: OperatorClient) -> None:
    windows = tuple(Window((Machine(name),), START_NS, HOUR_NS) for name in ("a", "A"))
    await client.update_maintenance_schedule(MaintenanceSchedule(windows))


NEVER_SENT_CALLS: list[tuple[str, Call]] = [
    ("quota_dup", quota_twice),
    ("quota_guar_gt_limit", guarantee_above_limit),
    ("quota_negative", negative_limit),
    ("quota_nested", nested_role),
    ("weights_bad", lambda c: c.update_weights({"dev": 0.0})),
    ("maint_dup", the_same_machine_twice),
]
# Mistakes that the types do not let anybody write.
NEVER_SENT = [
    *NEVER_SENT_CALLS,
    ("bad_json",),
    ("bad_type",),
    ("drain_string",),
    ("missing_body",),
]
# Answers of the older surface, which the v1 API tells better.
NOT_CALLED = [
    (name,)
    for name in (
        "get_frameworks", "get_maintenance_schedule", "get_maintenance_status", "get_quota",
        "get_slaves", "get_state", "get_state-summary", "get_tasks", "get_version", "get_weights",
    )
]  # fmt: skip
# Tried in tests of their own.
ELSEWHERE = {
    "drain", "drain_again", "get_agents", "get_flags", "get_health",
    "get_metrics", "get_metrics_snapshot", "get_redirect", "get_roles",
    "gone_unknown", "maint_status", "maint_status2", "master", "nonleader", "quota_clear",
    "quota_zero", "roles_v1", "version",
}  # fmt: skip


async def test_every_recorded_exchange_is_understood_by_a_test() -> None:
    used = {case[0] for case in (*VALUES, *ACCEPTED, *REFUSED, *NEVER_SENT, *NOT_CALLED)}
    assert used | ELSEWHERE == set(names())


@pytest.mark.parametrize("name", sorted(name for name, _ in NEVER_SENT_CALLS))
async def test_what_a_master_would_refuse_is_refused_before_it_is_sent(name: str) -> None:
    call = dict(NEVER_SENT_CALLS)[name]
    recorded = Recorded(load(name))
    async with client_of(recorded) as client:
        with pytest.raises(ValueError, match="expected"):
            await call(client)
    assert recorded.asked == []


async def test_consumption_and_the_health_of_a_named_master_are_read() -> None:
    recorded = Recorded(load("get_redirect"), load("get_roles"))
    async with client_of(recorded) as client:
        assert await client.consumption() == {"*": {"cpus": 0.4, "mem": 128.0}, "dev": {}}
    assert await (client_of(Recorded(load("get_health")))).health(MASTER)
    status, _ = await ask("maint_status", lambda c: c.maintenance_status())
    assert status.draining == (Machine("H8"), Machine("h9", "10.0.0.9"))


async def test_a_quota_is_cleared_by_nothing_and_zero_is_a_limit() -> None:
    _, asked = await ask("quota_clear", lambda c: c.update_quota([Quota("dev")]))
    assert asked["update_quota"]["quota_configs"] == [{"role": "dev"}]
    _, asked = await ask("quota_zero", lambda c: c.update_quota([Quota("dev", {"cpus": 0})]))
    assert asked["update_quota"]["quota_configs"] == [
        {"role": "dev", "limits": {"cpus": {"value": 0}}}
    ]


async def test_a_second_drain_names_no_grace_period_unless_asked_to() -> None:
    _, asked = await ask("drain_again", lambda c: c.drain_agent(AGENT_ID))
    assert "max_grace_period" not in asked["drain_agent"]


REFUSED: list[tuple[str, Call]] = [
    ("drain_unknown", lambda c: c.drain_agent("nope-S9")),
    ("reactivate_unknown", lambda c: c.reactivate_agent("x")),
    ("reactivate_while_draining", lambda c: c.reactivate_agent(AGENT_ID)),
    ("reactivate_not_deactivated", lambda c: c.reactivate_agent(AGENT_ID)),
    ("teardown_unknown", lambda c: c.teardown("nope")),
    ("maint_drop_down", lambda c: c.update_maintenance_schedule(MaintenanceSchedule())),
    ("maint_start_unscheduled", lambda c: c.start_maintenance([Machine("h9", "10.0.0.9")])),
    ("quota_default_role_low", lambda c: c.update_quota([Quota("*", {"cpus": 0.1})])),
    ("quota_overcommit_guarantee", lambda c: c.update_quota([Quota("dev", {"cpus": 500})])),
]


@pytest.mark.parametrize(("name", "call"), REFUSED)
async def test_refused_calls_carry_the_masters_own_words(name: str, call: Call) -> None:
    with pytest.raises(CallRefusedError) as caught:
        await ask(name, call)
    assert caught.value.status == load(name).status
    assert caught.value.text == load(name).body


async def test_an_unknown_agent_cannot_be_marked_gone() -> None:
    with pytest.raises(NotFoundError, match="not found"):
        await ask("gone_unknown", lambda c: c.mark_agent_gone("nope"))


async def test_a_follower_leads_to_the_leader() -> None:
    recorded = Recorded(load("nonleader"), load("get_agents"))
    transport = httpx.MockTransport(recorded)
    masters = ["127.0.0.1:15052", MASTER]
    async with OperatorClient(masters, transport=transport) as client:
        assert len((await client.agents()).registered) == 2
    assert len(recorded.asked) == 2


async def test_a_leader_that_was_not_declared_is_refused_unless_allowed() -> None:
    other = ["127.0.0.1:15099"]
    for call in ("agents", "leader"):
        exchange = load("nonleader") if call == "agents" else load("get_redirect")
        transport = httpx.MockTransport(Recorded(exchange))
        async with OperatorClient(other, transport=transport, timeout_s=1) as client:
            with pytest.raises(ForeignLeaderError) as caught:
                await getattr(client, call)()
        assert caught.value.leader == MASTER
    transport = httpx.MockTransport(Recorded(load("nonleader"), load("get_agents")))
    async with OperatorClient(other, transport=transport, follow_projection=True) as client:
        assert len((await client.agents()).registered) == 2


async def test_a_page_of_html_is_no_master() -> None:
    page = Exchange("page", None, "/", 200, None, "<html>hello</html>")
    async with client_of(Recorded(page)) as client:
        with pytest.raises(ProtocolError):
            await client.agents()
    # A page in place of an empty answer is no acceptance either.
    recorded = Recorded(page)
    async with client_of(recorded) as client:
        with pytest.raises(ProtocolError, match="Nobody knows whether it arrived"):
            await client.update_quota([Quota("dev", {"cpus": 1})])
    assert len(recorded.asked) == 1


async def test_what_masters_accept_and_should_not_is_refused_here() -> None:
    for wrong in ({"limits": {"cpus": -1.0}}, {"guarantees": {"cpus": 5}, "limits": {"cpus": 1}}):
        with pytest.raises(ValueError, match="expected"):
            Quota("dev", **wrong)
    with pytest.raises(ValueError, match="top-level"):
        Quota("eng/prod", {"cpus": 1})


async def test_the_recorded_stream_is_read_as_values_however_it_arrives() -> None:
    data = (FOLDER / "subscribe.recordio").read_bytes()
    for size in (1, 997, len(data)):
        feed = Feed()
        for start in range(0, len(data), size):
            feed.put(data[start : start + size])
        feed.end()
        master = Scripted(
            **{
                "GET /redirect": [httpx.Response(307, headers={"location": f"//{MASTER}"})],
                "SUBSCRIBE": [httpx.Response(200, stream=feed)],
            }
        )
        async with OperatorClient([MASTER], transport=httpx.MockTransport(master)) as client:
            found, end = await take_all(client.subscribe())
        assert isinstance(end, MesosError)
        assert isinstance(found[0], events.Subscribed)
        assert len(found[0].state.tasks.live) == 4
        assert found[1] == events.Heartbeat()
        assert isinstance(found[2], events.TaskUpdated)
        assert found[2].state.startswith("TASK_")
