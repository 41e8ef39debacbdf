"""The operator client on the stand-in: read one cluster, replay on another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TypeVar

import pytest

from clients.mesos import (
    CallRefusedError,
    ForeignLeaderError,
    FrameworkRemovedError,
    OperatorClient,
    SchedulerClient,
    Subscription,
    SubscriptionLostError,
    events,
)
from clients.mesos.model import DrainState, Machine, MaintenanceSchedule, Quota, Window
from clients.mesos.scheduler_model import (
    FrameworkInfo,
    Offers,
    Refused,
    SchedulerEvent,
    TaskInfo,
    TaskStatus,
    Updated,
)
from stacks.local.mesos.executor import start_time
from tests.local.rig import Rig, RunningMaster
from tests.local.test_cluster import Projection
from tests.waiting import until

SCHEDULE = MaintenanceSchedule((Window((Machine("h9", "10.0.0.9"),), 10**18, 10**12),))


def client_of(group: list[RunningMaster], credential: Path | None = None) -> OperatorClient:
    return OperatorClient([master.address for master in group], credential, timeout_s=10)


async def test_what_a_registry_holds_is_replayed_on_another_group(rig: Rig, tmp_path: Path) -> None:
    secret = tmp_path / "operator"
    secret.write_text("operator:secret")
    blue = await rig.masters("blue", 3, credential_file=secret)
    green = await rig.masters("green", 3, credential_file=secret)
    quota = [Quota("dev", {"cpus": 10.0, "mem": 2048.0}), Quota("ops", {"cpus": 1.0})]
    async with client_of(blue, secret) as source, client_of(green, secret) as target:
        await source.update_quota(quota)
        await source.update_weights({"dev": 2.0})
        await source.update_maintenance_schedule(SCHEDULE)
        await target.update_quota(await source.quota())
        await target.update_weights(await source.weights())
        await target.update_maintenance_schedule(await source.maintenance_schedule())
        assert await target.quota() == tuple(quota)
        assert await target.weights() == {"dev": 2.0}
        assert await target.maintenance_schedule() == SCHEDULE
        for master in green:
            metrics = await target.metrics(master.address)
            assert metrics["registrar/log/recovered"] == 1.0
            assert metrics["registrar/log/ensemble_size"] == 3.0
            assert (await target.flags(master.address))["quorum"] == "2"
        assert await target.leader() == (await rig.leader(green)).address


async def test_a_lost_leader_is_waited_out_by_the_same_call(rig: Rig) -> None:
    group = await rig.masters(count=3)
    async with client_of(group) as client:
        assert await client.leader() == group[0].address
        await group[0].stop()
        assert (await client.agents()).registered == ()
        assert await client.leader() == group[1].address


async def test_a_projected_leader_is_refused(rig: Rig) -> None:
    blue, green = await rig.masters("blue", 3), await rig.masters("green", 1)
    projection = Projection(rig.hosts)
    try:
        projection.put(rig.path("blue"), green[0])
        followers = blue[1:]
        await until(
            lambda: all(m.master.leader and m.master.leader.number == 0 for m in followers),
            "blue follows green",
        )
        await blue[0].stop()
        async with client_of(followers) as client:
            for call in (client.leader, client.weights):
                with pytest.raises(ForeignLeaderError) as caught:
                    await call()
                assert caught.value.leader == green[0].address
    finally:
        projection.close()


async def test_an_agent_is_deactivated_drained_and_reactivated(rig: Rig) -> None:
    group = await rig.masters(count=1)
    agent = await rig.agent()
    framework = await rig.framework(tasks=1)
    task = (await rig.healthy(framework, 1))[0]
    assert agent.id is not None
    async with client_of(group) as client:
        tasks = (await client.tasks()).live
        assert [(t.id, t.executor_pid, t.agent_id) for t in tasks] == [
            (task.id, task.pid, agent.id)
        ]
        await client.deactivate_agent(agent.id)
        (seen,) = (await client.agents()).registered
        assert seen.deactivated
        assert seen.address == f"127.0.0.1:{agent.settings.port}"
        await client.drain_agent(agent.id, max_grace_period_s=1)

        async def drained() -> bool:
            (one,) = (await client.agents()).registered
            return one.drain is not None and one.drain.state is DrainState.DRAINED

        await until(drained, "the agent is drained")
        await client.reactivate_agent(agent.id)
        with pytest.raises(CallRefusedError, match="not deactivated"):
            await client.reactivate_agent(agent.id)
        await rig.healthy(framework, 1)


async def test_an_agent_that_is_given_up_for_ever_ends_with_its_tasks(rig: Rig) -> None:
    group = await rig.masters(count=1)
    ended: list[str] = []
    agent = await rig.agent(fail=ended.append)
    framework = await rig.framework(tasks=1)
    (task,) = await rig.healthy(framework, 1)
    assert agent.id is not None
    async with client_of(group) as client:
        await client.mark_agent_gone(agent.id)
        assert (await client.agents()).registered == ()
    await until(lambda: ended, "the agent ends")
    await until(lambda: start_time(task.pid) is None, "its task ends")
    counts = framework.scheduler.counts
    await until(lambda: counts["TASK_GONE_BY_OPERATOR"], "the framework is told")
    # It may not come back; another one may take its place.
    await rig.stop_agent(agent)
    await rig.agent(number=1)
    await rig.healthy(framework, 1)


async def test_quota_limits_what_a_role_is_offered(rig: Rig) -> None:
    group = await rig.masters(count=1)
    await rig.agent()
    async with client_of(group) as client:
        await client.update_quota([Quota("dev", {"cpus": 0.2})])
        framework = await rig.framework(tasks=3, role="dev")
        await rig.healthy(framework, 2)
        with pytest.raises(CallRefusedError, match="already consuming"):
            await client.update_quota([Quota("dev", {"cpus": 0.1})])
        await client.update_quota([Quota("dev")])
        await rig.healthy(framework, 3)


async def test_events_tell_of_tasks(rig: Rig) -> None:
    group = await rig.masters(count=1)
    await rig.agent()
    async with client_of(group) as client:
        stream = client.events()
        assert (await anext(stream))["type"] == "SUBSCRIBED"
        framework = await rig.framework(tasks=1)
        kinds: set[str] = set()
        while "TASK_UPDATED" not in kinds:
            kinds.add((await anext(stream))["type"])
        assert {"FRAMEWORK_ADDED", "TASK_ADDED"} <= kinds
        await rig.healthy(framework, 1)
        await stream.aclose()


async def test_events_are_values_and_begin_with_the_state(rig: Rig) -> None:
    group = await rig.masters(count=1)
    await rig.agent()
    async with client_of(group) as client:
        stream = client.subscribe()
        first = await anext(stream)
        assert isinstance(first, events.Subscribed)
        framework = await rig.framework(tasks=1)
        seen: list[events.Event] = []
        while not any(isinstance(one, events.TaskUpdated) for one in seen):
            seen.append(await anext(stream))
        (task,) = await rig.healthy(framework, 1)
        added = [one.task.id for one in seen if isinstance(one, events.TaskAdded)]
        assert added == [task.id]
        await stream.aclose()


async def test_a_framework_of_our_own_runs_a_task(rig: Rig) -> None:
    group = await rig.masters(count=1)
    agent = await rig.agent()
    masters = [master.address for master in group]
    info = FrameworkInfo("own", "nobody", failover_timeout_s=60)
    async with SchedulerClient(masters) as client, client.subscribe(info) as subscription:
        stream = subscription.events()
        offers = await first_of(stream, Offers)
        offer = offers.offers[0]
        assert offer.agent_id == agent.id
        task = TaskInfo("t1", "sleeper", offer.agent_id, {"cpus": 0.1, "mem": 16}, "sleep 60")
        await subscription.accept([offer.id], [task], refuse_s=1)
        # What nobody acknowledges is told again.
        told = [(await first_of(stream, Updated)).status for _ in range(2)]
        assert [one.state for one in told] == ["TASK_STARTING"] * 2
        assert told[0].uuid == told[1].uuid
        status = await status_of(subscription, stream, "TASK_RUNNING")
        assert (status.task_id, status.agent_id) == ("t1", agent.id)
        await subscription.reconcile({})
        reconciled = await status_of(subscription, stream, "TASK_RUNNING")
        assert (reconciled.reason, reconciled.uuid) == ("REASON_RECONCILIATION", None)
        await subscription.kill("t1", offer.agent_id)
        await status_of(subscription, stream, "TASK_KILLED")
        await subscription.teardown()
        with pytest.raises(SubscriptionLostError):
            await first_of(stream, Refused)
    removed = FrameworkInfo("own", "nobody", id=subscription.framework_id)
    async with SchedulerClient(masters) as client:
        with pytest.raises(FrameworkRemovedError):
            async with client.subscribe(removed):
                pass


_T = TypeVar("_T")


async def first_of(stream: AsyncGenerator[SchedulerEvent], kind: type[_T]) -> _T:
    async with asyncio.timeout(15):
        async for event in stream:
            if isinstance(event, kind):
                return event
    raise AssertionError


async def status_of(
    subscription: Subscription, stream: AsyncGenerator[SchedulerEvent], state: str
) -> TaskStatus:
    """Acknowledge updates, in whose order the agent sends them, until a task is in that state."""
    async with asyncio.timeout(15):
        while True:
            status = (await first_of(stream, Updated)).status
            if status.uuid is not None and status.agent_id is not None:
                await subscription.acknowledge(status.task_id, status.agent_id, status.uuid)
            if status.state == state:
                return status
