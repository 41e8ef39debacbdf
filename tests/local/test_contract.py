"""Our clients on whichever Mesos serves: stand-ins here, the real programs in `make test-mesos`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from clients.mesos import OperatorClient, SchedulerClient, Subscription
from clients.mesos.events import Subscribed
from clients.mesos.model import DrainState
from clients.mesos.scheduler_model import (
    FrameworkInfo,
    Offers,
    SchedulerEvent,
    TaskInfo,
    TaskStatus,
    Updated,
)
from tests.local.served import Cluster
from tests.waiting import until

BOUND_S = 60.0


async def status(
    subscription: Subscription, events: AsyncGenerator[SchedulerEvent], state: str
) -> TaskStatus:
    """Wait for a state; each status is acknowledged, or the next one would not come."""
    async with asyncio.timeout(BOUND_S):
        async for event in events:
            if not isinstance(event, Updated):
                continue
            found = event.status
            if found.uuid is not None:
                assert found.agent_id is not None
                await subscription.acknowledge(found.task_id, found.agent_id, found.uuid)
            if found.state == state:
                return found
    raise AssertionError(state)


async def test_a_framework_launches_is_told_acknowledges_kills_and_ends(cluster: Cluster) -> None:
    info = FrameworkInfo("contract", "root", failover_timeout_s=0)
    async with (
        SchedulerClient([cluster.leader.address], timeout_s=30) as client,
        client.subscribe(info) as subscription,
    ):
        events = subscription.events()
        async with asyncio.timeout(BOUND_S):
            found = [event async for event in _until_offers(events)][-1]
        offer = found.offers[0]
        task = TaskInfo("contract-1", "c", offer.agent_id, {"cpus": 0.1, "mem": 32}, "sleep 1000")
        rest = [one.id for one in found.offers[1:]]
        await subscription.accept([offer.id], [task])
        if rest:
            await subscription.decline(rest)
        running = await status(subscription, events, "TASK_RUNNING")
        assert (running.task_id, running.agent_id) == ("contract-1", offer.agent_id)
        assert running.uuid is not None
        await subscription.reconcile({"contract-1": offer.agent_id})
        again = await status(subscription, events, "TASK_RUNNING")
        assert again.reason == "REASON_RECONCILIATION"
        await subscription.kill("contract-1", offer.agent_id)
        killed = await status(subscription, events, "TASK_KILLED")
        assert killed.task_id == "contract-1"
        await subscription.teardown()


async def _until_offers(events: AsyncGenerator[SchedulerEvent]) -> AsyncGenerator[Offers]:
    async for event in events:
        if isinstance(event, Offers):
            yield event
            return


async def test_an_idle_agent_is_drained_and_offered_again(cluster: Cluster) -> None:
    agent_id = cluster.idle.id
    async with OperatorClient([cluster.leader.address], timeout_s=30) as client:
        await client.drain_agent(agent_id, max_grace_period_s=3)

        async def drained() -> bool:
            found = {one.id: one for one in (await client.agents()).registered}[agent_id].drain
            assert found is not None
            assert found.max_grace_period_s == 3
            return found.state is DrainState.DRAINED

        await until(drained, "it is drained", BOUND_S)
        await client.reactivate_agent(agent_id)
        found = {one.id: one for one in (await client.agents()).registered}[agent_id]
        assert (found.deactivated, found.drain) == (False, None)


async def test_events_begin_with_what_a_read_tells(cluster: Cluster) -> None:
    async with OperatorClient([cluster.leader.address], timeout_s=30) as client:
        state = await client.state()
        events = client.subscribe()
        async with asyncio.timeout(BOUND_S), contextlib.aclosing(events):
            first = await anext(events)
        assert isinstance(first, Subscribed)
        assert {one.id for one in first.state.agents.registered} == {
            one.id for one in state.agents.registered
        }
        assert len(first.state.tasks.live) == len(state.tasks.live) == 4
