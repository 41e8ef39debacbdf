"""A share of the size that the stand-ins are made for; `make bench-mesos` runs the whole of it."""

from __future__ import annotations

from pathlib import Path

from clients.mesos import SchedulerClient
from stacks.local.mesos.simulated import make_agent
from stacks.local.simulated_settings import SimulatedAgentsSettings
from tests.local.alone import leading_alone
from tests.performance.mesos.batch import Batch
from tests.performance.mesos.launching import working
from tests.waiting import until

AGENTS, TASKS, BOUND_S = 100, 1000, 120.0
SETTINGS = SimulatedAgentsSettings(listen="h:1", master="zk://h:1/m", agents=AGENTS)


async def test_a_batch_framework_launches_a_thousand_tasks_on_a_hundred_agents(
    tmp_path: Path,
) -> None:
    failures: list[str] = []
    agents = [make_agent(SETTINGS, number, failures.append) for number in range(AGENTS)]
    async with leading_alone(tmp_path) as alone, alone.followed_by(agents):
        await until(lambda: all(a.registered_with for a in agents), "all registered", BOUND_S)
        async with SchedulerClient([alone.address], timeout_s=60) as client:
            batch = Batch(client, TASKS, per_offer=TASKS // AGENTS)
            async with working(batch):
                await until(
                    lambda: batch.running == TASKS and not batch.waiting, "all run", BOUND_S
                )
                cluster = alone.leadership.cluster
                assert batch.launched == TASKS
                assert cluster.count_tasks()["TASK_RUNNING"] == TASKS
                # Every agent took its share, and all is acknowledged down to it.
                assert {len(agent.tasks.records) for agent in agents} == {TASKS // AGENTS}
                await until(
                    lambda: not any(t.pending for a in agents for t in a.tasks.records.values()),
                    "all statuses are acknowledged",
                    BOUND_S,
                )
                # What is used is what all of them take, to the thousandth.
                assert sum(agent.used["cpus"] for agent in cluster.agents.values()) == 100.0
    assert failures == []
