"""A share of the size that the stand-ins are made for; `make bench-mesos` runs the whole of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx

from clients.mesos import SchedulerClient
from stacks.local.mesos.election import Detector, Leader
from stacks.local.mesos.follower import Follower
from stacks.local.mesos.outbox import Outbox
from stacks.local.mesos.simulated import SimulatedTasks, make_agent
from stacks.local.session import Session
from stacks.local.simulated_settings import SimulatedAgentsSettings
from tests.local.rig import Rig
from tests.performance.mesos.batch import Batch
from tests.waiting import until

AGENTS, TASKS, BOUND_S = 100, 1000, 60.0


@asynccontextmanager
async def simulated(rig: Rig) -> AsyncGenerator[list[Follower[SimulatedTasks]]]:
    """Agents whose tasks are only numbers, in the test's own loop."""
    settings = SimulatedAgentsSettings(listen="h:1", master=rig.zk("blue"), agents=AGENTS)
    failures: list[str] = []
    agents = [make_agent(settings, number, failures.append) for number in range(AGENTS)]
    limits = httpx.Limits(max_connections=None)
    client = httpx.AsyncClient(timeout=httpx.Timeout(30, read=None), limits=limits)
    outbox = Outbox(httpx.AsyncClient(timeout=30))
    session = Session(rig.hosts, timeout_s=10)

    def note(leader: Leader | None) -> None:
        for agent in agents:
            agent.note_leader(leader)

    for agent in agents:
        agent.connect(client, outbox)
    work = [asyncio.ensure_future(agent.follow()) for agent in agents]
    await session.start()
    work.append(asyncio.ensure_future(Detector(session, rig.path("blue")).run(note)))
    try:
        yield agents
    finally:
        for future in work:
            future.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await outbox.close()
        await client.aclose()
        await session.close()
    assert failures == []


async def test_a_batch_framework_launches_a_thousand_tasks_on_a_hundred_agents(rig: Rig) -> None:
    master = await rig.master(zk_session_timeout_s=10)
    async with simulated(rig) as agents:
        await until(
            lambda: all(agent.registered_with for agent in agents), "all have registered", BOUND_S
        )
        async with SchedulerClient([master.address], timeout_s=30) as client:
            batch = Batch(client, TASKS, per_offer=TASKS // AGENTS)
            working = asyncio.ensure_future(batch.run())
            await until(
                lambda: batch.running == TASKS and not batch.waiting, "all tasks run", BOUND_S
            )
            leadership = master.master.leadership
            assert leadership is not None
            cluster = leadership.cluster
            assert (batch.failures, batch.launched) == ([], TASKS)
            assert cluster.count_tasks()["TASK_RUNNING"] == TASKS
            # Every agent took its share, and every status has been acknowledged down to it.
            assert {len(agent.tasks.records) for agent in agents} == {TASKS // AGENTS}
            await until(
                lambda: not any(t.pending for a in agents for t in a.tasks.records.values()),
                "all statuses are acknowledged",
            )
            # What is used is what all of them take, to the thousandth.
            assert sum(agent.used["cpus"] for agent in cluster.agents.values()) == 100.0
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working
