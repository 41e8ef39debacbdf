"""Run-time objects with the real engine and the stand-in master: the examples as they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clients.mesos import OperatorClient
from clients.mesos.model import Agent, DrainState, Machine, MaintenanceSchedule, Quota, Window
from tests.local.engine import Project
from tests.local.rig import Rig, free_port
from tests.waiting import until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]
DEV = Quota("dev", {"cpus": 2.0, "mem": 1024.0})
PATIENT: dict[str, Any] = {"zk_session_timeout_s": 30}
JANUARY_2030_NS = 1_893_456_000 * 10**9


@pytest.mark.long
async def test_objects_are_made_mended_moved_and_taken_back(rig: Rig, tmp_path: Path) -> None:
    (master,) = await rig.masters(count=1, **PATIENT)
    project = Project(tmp_path, example="objects")
    nobody = [f"127.0.0.1:{free_port()}"]
    await project.start(masters=nobody)
    async with OperatorClient([master.address], timeout_s=30) as client:
        # Nobody is asked in a preview.
        assert "+ 4 to create" in await project.pulumi("preview")
        assert await client.quota() == ()

        project.configure(masters=[master.address])
        await project.up()
        assert await client.quota() == (DEV,)
        assert await client.weights() == {"dev": 2.0}
        schedule = await client.maintenance_schedule()
        assert schedule.windows[0].start_ns == JANUARY_2030_NS
        await project.assert_unchanged()
        assert await project.refresh() == {}

        # What was changed by hand is seen by a refresh, only that, and mended.
        await client.update_quota([Quota("dev", {"cpus": 9.0}), Quota("ops", {"cpus": 1.0})])
        await client.update_weights({"dev": 7.0})
        other = Window((Machine("host-2", "10.0.0.2"),), JANUARY_2030_NS)
        await client.update_maintenance_schedule(MaintenanceSchedule((other,)))
        seen = await project.refresh()
        assert set(seen) == {"dev-quota", "dev-weight", "schedule"}
        assert "cpus: 2 => 9" in seen["dev-quota"]
        assert "weight: 2 => 7" in seen["dev-weight"]
        assert "host-2/10.0.0.2" in seen["schedule"]
        told = await project.pulumi("up", "--yes", "--refresh", "--skip-preview")
        assert "~ 3 updated" in told
        assert await client.quota() == (DEV, Quota("ops", {"cpus": 1.0}))
        assert await client.weights() == {"dev": 2.0}
        assert await client.maintenance_schedule() == schedule

        # A move of the endpoint is written down, and nobody is called.
        project.configure(masters=nobody)
        assert "~ 3 updated" in await project.up()
        project.configure(masters=[master.address])
        await project.up()

        await project.destroy()
        assert await client.quota() == (Quota("ops", {"cpus": 1.0}),)
        assert await client.weights() == {"dev": 1.0}
        assert (await client.maintenance_schedule()).windows == ()


@pytest.mark.long
async def test_an_agent_is_drained_once_again_after_a_hand_and_given_back(
    rig: Rig, tmp_path: Path
) -> None:
    (master,) = await rig.masters(count=1, **PATIENT)
    drained, other = [await rig.agent(number=number, **PATIENT) for number in range(2)]
    framework = await rig.framework(tasks=4, **PATIENT)
    await rig.healthy(framework, 4)
    assert drained.id is not None
    assert other.id is not None
    project = Project(tmp_path, example="drain")
    await project.start(masters=[master.address], agentId=drained.id)
    async with OperatorClient([master.address], timeout_s=30) as client:

        async def seen() -> Agent:
            agents = (await client.agents()).registered
            return next(agent for agent in agents if agent.id == drained.id)

        await project.up()
        agent = await seen()
        assert agent.drain is not None
        assert (agent.drain.state, agent.drain.mark_gone) == (DrainState.DRAINED, False)
        tasks = await rig.healthy(framework, 4)
        assert {task.agent_id for task in tasks} == {other.id}
        await project.assert_unchanged()
        assert await project.refresh() == {}
        # A second drain would have dropped it.
        assert (await seen()).drain == agent.drain
        assert agent.drain.max_grace_period_s == 60

        await client.reactivate_agent(drained.id)
        assert '"DRAINED" => "ACTIVE"' in (await project.refresh())["drain"]
        assert "~ 1 updated" in await project.pulumi("up", "--yes", "--refresh", "--skip-preview")
        assert (await seen()).drain == agent.drain

        await project.destroy()
        agent = await seen()
        assert (agent.deactivated, agent.drain) == (False, None)
        await until(lambda: drained.registered_with, "the agent is there")
