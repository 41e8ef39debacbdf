"""A leading master on values: reconciliation, agents and frameworks that come and go."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stacks.local.errors import CallError
from stacks.local.mesos.streams import Stream
from tests.local.leading import Leading, read, statuses


async def reconcile(
    leading: Leading, framework: Any, agent_id: str | None, task_id: str = "t"
) -> list[tuple[str, str]]:
    asked: dict[str, Any] = {"task_id": {"value": task_id}}
    if agent_id is not None:
        asked["agent_id"] = {"value": agent_id}
    statuses(framework)
    await leading.call(framework, "RECONCILE", tasks=[asked])
    return [(one["state"], one["reason"]) for one in statuses(framework)]


@pytest.mark.parametrize("aware", [True, False])
async def test_reconciliation_answers_its_six_cases(aware: bool) -> None:
    """As Mesos' docs/reconciliation.md lists them."""
    leading = Leading()
    capabilities = [{"type": "PARTITION_AWARE"}] if aware else []
    framework = leading.framework(capabilities=capabilities)
    await leading.agent(0)
    info = await leading.launch(framework, "known")
    await leading.update(framework, info, "TASK_RUNNING")
    leading.cluster.recovered["coming"] = {}
    leading.cluster.unreachable["away"] = 1.0
    leading.cluster.gone["gone"] = 1.0
    expected = {
        "m-S0": "TASK_GONE",
        "away": "TASK_UNREACHABLE",
        "gone": "TASK_GONE_BY_OPERATOR",
        "nobody": "TASK_UNKNOWN",
    }
    assert await reconcile(leading, framework, "m-S0", "known") == [
        ("TASK_RUNNING", "REASON_RECONCILIATION")
    ]
    assert await reconcile(leading, framework, "coming") == []
    for agent_id, state in expected.items():
        seen = await reconcile(leading, framework, agent_id)
        assert seen == [(state if aware else "TASK_LOST", "REASON_RECONCILIATION")]


async def test_a_task_without_an_agent_is_not_given_up_while_agents_may_still_come() -> None:
    leading = Leading()
    framework = leading.framework()
    leading.cluster.recovered["coming"] = {}
    assert await reconcile(leading, framework, None) == []
    leading.cluster.recovered.clear()
    assert await reconcile(leading, framework, None) == [("TASK_UNKNOWN", "REASON_RECONCILIATION")]


async def test_implicit_reconciliation_tells_what_was_told_last() -> None:
    leading = Leading()
    framework = leading.framework()
    await leading.agent()
    info = await leading.launch(framework, "t")
    await leading.update(framework, info, "TASK_RUNNING")
    statuses(framework)
    await leading.call(framework, "RECONCILE", tasks=[])
    assert [one["state"] for one in statuses(framework)] == ["TASK_RUNNING"]


async def test_an_unreachable_agent_takes_its_tasks_along_and_brings_them_back() -> None:
    leading = Leading()
    framework = leading.framework()
    agent, _ = await leading.agent()
    info = await leading.launch(framework, "t")
    await leading.update(framework, info, "TASK_RUNNING")
    statuses(framework)
    await leading.core.mark_unreachable(agent.id)
    (lost,) = statuses(framework)
    assert lost["state"] == "TASK_UNREACHABLE"
    assert lost["unreachable_time"]["nanoseconds"] > 0
    assert await reconcile(leading, framework, None) == [
        ("TASK_UNREACHABLE", "REASON_RECONCILIATION")
    ]
    reported: dict[str, Any] = {
        "info": info, "framework_id": framework.id, "role": "*", "state": "TASK_RUNNING",
        "statuses": [], "status_update_state": "TASK_RUNNING",
    }  # fmt: skip
    await leading.agent(agent_id=agent.id, tasks=[reported], frameworks=[framework.info])
    (back,) = statuses(framework)
    assert (back["state"], back["reason"]) == ("TASK_RUNNING", "REASON_AGENT_REREGISTERED")
    assert leading.cluster.unreachable == {}


async def test_an_agent_that_was_given_up_for_ever_may_not_come_back() -> None:
    leading = Leading()
    framework = leading.framework()
    agent, stream = await leading.agent()
    await leading.launch(framework, "t")
    statuses(framework)
    await leading.core.mark_gone(agent.id)
    assert [one["state"] for one in statuses(framework)] == ["TASK_GONE_BY_OPERATOR"]
    assert read(stream)[-1]["type"] == "SHUTDOWN"
    with pytest.raises(CallError) as caught:
        await leading.agent(agent_id=agent.id)
    assert caught.value.status == 410


@pytest.mark.parametrize(
    "changed",
    [
        {"pid": "slave(1)@10.0.0.9:5051"},
        {"info": {"hostname": "other", "port": 5051, "resources": []}},
    ],
)
async def test_an_agent_that_comes_back_as_another_one_is_shut_down(
    changed: dict[str, Any],
) -> None:
    leading = Leading()
    agent, _ = await leading.agent()
    with pytest.raises(CallError, match="different IP / hostname"):
        await leading.agent(agent_id=agent.id, **changed)


async def test_a_framework_that_stays_away_too_long_is_completed_and_its_tasks_end() -> None:
    leading = Leading()
    framework = leading.framework(failover_timeout=0.05)
    _, stream = await leading.agent()
    await leading.launch(framework, "t")
    read(stream)
    assert isinstance(framework.stream, Stream)
    leading.core.frameworks.disconnect(framework, framework.stream)
    assert framework.id in leading.cluster.frameworks
    await asyncio.sleep(0.2)
    assert leading.cluster.frameworks == {}
    assert [done.id for done in leading.cluster.completed_frameworks] == [framework.id]
    assert {"type": "SHUTDOWN_FRAMEWORK", "framework_id": framework.id} in read(stream)
    with pytest.raises(CallError, match="removed"):
        leading.framework(framework.id)


async def test_a_framework_that_comes_back_in_time_replaces_its_former_connection() -> None:
    leading = Leading()
    first = leading.framework(failover_timeout=0.05)
    former = first.stream
    assert isinstance(former, Stream)
    again = leading.framework(first.id)
    assert again is first
    assert read(former)[-1] == {"type": "ERROR", "error": {"message": "Framework failed over"}}
    leading.core.frameworks.disconnect(first, former)
    await asyncio.sleep(0.1)
    assert first.id in leading.cluster.frameworks


async def test_an_ended_task_stays_until_its_last_status_is_acknowledged() -> None:
    leading = Leading()
    framework = leading.framework()
    agent, stream = await leading.agent()
    info = await leading.launch(framework, "t", cpus=3.0)
    assert agent.available["cpus"] == 1.0
    await leading.update(framework, info, "TASK_FINISHED", "u")
    assert agent.available["cpus"] == 4.0
    assert "t" in framework.tasks
    read(stream)
    await leading.call(framework, "ACKNOWLEDGE", agent_id=info["agent_id"],
                       task_id=info["task_id"], uuid="u")  # fmt: skip
    assert framework.tasks == {}
    assert read(stream) == [
        {"type": "ACKNOWLEDGE", "framework_id": framework.id, "task_id": "t", "uuid": "u"}
    ]


async def test_a_drain_ends_when_the_last_status_is_acknowledged() -> None:
    leading = Leading()
    framework = leading.framework()
    agent, _ = await leading.agent()
    info = await leading.launch(framework, "t")
    agent.deactivated = True
    agent.drain_info = {"state": "DRAINING", "config": {"mark_gone": True}}
    await leading.update(framework, info, "TASK_KILLED", "u")
    assert agent.drain_info["state"] == "DRAINING"
    await leading.call(framework, "ACKNOWLEDGE", agent_id=info["agent_id"],
                       task_id=info["task_id"], uuid="u")  # fmt: skip
    assert agent.id in leading.cluster.gone


async def test_an_agent_that_is_away_is_drained_when_it_comes_back() -> None:
    leading = Leading()
    agent, _ = await leading.agent()
    await leading.core.mark_unreachable(agent.id)
    body = {"agent_id": {"value": agent.id}}
    await leading.operator.call({"type": "DRAIN_AGENT", "drain_agent": body})
    back, stream = await leading.agent(agent_id=agent.id)
    assert back.drain_info is not None
    assert (back.deactivated, back.drain_info["state"]) == (True, "DRAINED")
    assert [m["type"] for m in read(stream)] == ["REGISTERED", "DRAIN"]
    unknown = {"agent_id": {"value": "nobody"}}
    with pytest.raises(CallError, match="Unknown agent"):
        await leading.operator.call({"type": "DRAIN_AGENT", "drain_agent": unknown})


async def test_an_agent_that_is_away_is_deactivated_and_reactivated() -> None:
    leading = Leading()
    agent, _ = await leading.agent()
    await leading.core.mark_unreachable(agent.id)
    body = {"agent_id": {"value": agent.id}}
    await leading.operator.call({"type": "DEACTIVATE_AGENT", "deactivate_agent": body})
    assert leading.document["marks"] == {agent.id: {"deactivated": True}}
    await leading.operator.call({"type": "REACTIVATE_AGENT", "reactivate_agent": body})
    back, _ = await leading.agent(agent_id=agent.id)
    assert back.active


async def test_a_task_is_refused_with_the_reason_of_the_field() -> None:
    leading = Leading({"permissive": True, "run_tasks": [
        {"principals": {"type": "ANY"}, "users": {"type": "NONE"}}]})  # fmt: skip
    framework = leading.framework()
    await leading.agent()
    await leading.launch(framework, "t")
    (refused,) = statuses(framework)
    assert (refused["state"], refused["reason"]) == ("TASK_ERROR", "REASON_TASK_UNAUTHORIZED")
    other = Leading()
    framework = other.framework()
    await other.agent()
    await other.launch(framework, "big", cpus=100.0)
    (refused,) = statuses(framework)
    assert (refused["state"], refused["reason"]) == ("TASK_ERROR", "REASON_TASK_INVALID")
