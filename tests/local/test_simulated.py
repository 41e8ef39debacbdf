"""Simulated agents: to a master they are agents like others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stacks.local.mesos.simulated import SimulatedTasks, make_agent
from stacks.local.simulated_settings import SimulatedAgentsSettings
from tests.local.rig import until

SETTINGS = SimulatedAgentsSettings(listen="h:1", master="zk://h:1/m", agents=2)


class Master:
    """Takes statuses, and acknowledges them when told to."""

    def __init__(self, tasks: SimulatedTasks) -> None:
        self.tasks = tasks
        self.seen: list[dict[str, Any]] = []

    async def send(self, message: dict[str, Any]) -> bool:
        self.seen.append(message["status"])
        return True

    def states(self) -> list[str]:
        return [status["state"] for status in self.seen]

    def acknowledge(self) -> None:
        self.tasks.acknowledge("f", "t", self.seen[-1]["uuid"])


def order(*capabilities: str, grace_s: float | None = None) -> dict[str, Any]:
    named = [{"type": name} for name in capabilities]
    policy = {} if grace_s is None else {"kill_policy": {"grace_period": {"seconds": grace_s}}}
    return {
        "framework_info": {"id": {"value": "f"}, "capabilities": named},
        "task": {"task_id": {"value": "t"}, "agent_id": {"value": "S0"}, **policy},
        "role": "*",
    }


async def test_a_task_runs_is_killed_and_forgotten_once_all_was_acknowledged() -> None:
    tasks = SimulatedTasks(start_s=0, retry_s=1000)
    master = Master(tasks)
    tasks.connect("S0", master.send)
    tasks.run(order())
    await until(lambda: master.states() == ["TASK_RUNNING"], "it runs")
    tasks.kill("f", "t")
    master.acknowledge()
    await until(lambda: master.states() == ["TASK_RUNNING", "TASK_KILLED"], "it ends")
    assert ("f", "t") in tasks.records
    master.acknowledge()
    assert tasks.records == {}


async def test_a_status_is_repeated_until_somebody_acknowledges_it() -> None:
    tasks = SimulatedTasks(start_s=0, retry_s=0.01)
    master = Master(tasks)
    tasks.connect("S0", master.send)
    tasks.run(order())
    await until(lambda: len(master.seen) >= 3, "it is repeated")
    assert len({status["uuid"] for status in master.seen}) == 1
    master.acknowledge()
    count = len(master.seen)
    await asyncio.sleep(0.05)
    assert len(master.seen) <= count + 1
    assert tasks.registration()[0]["state"] == "TASK_RUNNING"


@pytest.mark.parametrize(
    ("end_s", "grace_s"), [(1000, 0.05), (0.05, 1000)], ids=["forcibly", "by itself"]
)
async def test_a_kill_is_told_and_ends_a_task_by_itself_or_after_its_grace_period(
    end_s: float, grace_s: float
) -> None:
    tasks = SimulatedTasks(start_s=0, retry_s=1000, end_s=end_s)
    tasks.run(order("TASK_KILLING_STATE", grace_s=grace_s))
    (task,) = tasks.records.values()
    await until(lambda: task.state == "TASK_RUNNING", "it runs")

    tasks.kill("f", "t")
    tasks.kill("f", "t")

    assert task.state == "TASK_KILLING"
    await until(lambda: task.state == "TASK_KILLED", "it ends")
    states = [status["state"] for status in task.statuses]
    assert states == ["TASK_RUNNING", "TASK_KILLING", "TASK_KILLED"]


async def test_a_drain_shortens_the_grace_period_of_a_kill() -> None:
    tasks = SimulatedTasks(start_s=0, retry_s=1000, end_s=1000)
    tasks.run(order(grace_s=1000))
    (task,) = tasks.records.values()
    await until(lambda: task.state == "TASK_RUNNING", "it runs")

    tasks.kill("f", "t")
    tasks.drain({})
    assert task.state == "TASK_RUNNING"
    tasks.drain({"max_grace_period": {"seconds": 0}})

    assert task.state == "TASK_KILLED"


async def test_a_task_that_does_not_run_yet_is_killed_at_once() -> None:
    tasks = SimulatedTasks(start_s=0, retry_s=1000, end_s=1000)
    tasks.run(order("TASK_KILLING_STATE"))
    (task,) = tasks.records.values()

    tasks.kill("f", "t")

    assert [status["state"] for status in task.statuses] == ["TASK_KILLED"]


async def test_agents_differ_by_their_number_and_say_that_they_are_simulated() -> None:
    agents = [make_agent(SETTINGS, number, print) for number in (1, 300)]
    assert [agent.info["hostname"] for agent in agents] == ["simulated-1", "simulated-300"]
    assert [agent.pid for agent in agents] == ["slave(1)@10.0.0.1:5051", "slave(1)@10.0.1.44:5051"]
    assert {a["name"] for a in agents[0].info["attributes"]} == {"simulated"}
