"""Apps of a Marathon that runs are taken off agents, and keep their healthy instances meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from stacks.migration.acts import apps
from stacks.migration.errors import ActFailedError
from tests.local.moving import BOUND_S, stage
from tests.local.rig import Rig
from tests.waiting import until


async def test_an_app_leaves_agents_with_all_its_instances_healthy_all_the_time(rig: Rig) -> None:
    async with stage(rig) as here:
        before = await here.tasks()
        (evidence,) = await here.move()
        after = await here.tasks()
        assert evidence.ok
        assert evidence.numbers == {"moved": 3, "healthy_min": {"/web": 3}, "target": {"/web": 3}}
        assert len(after) == 3
        assert not before.keys() & after.keys()
        assert here.leaving not in after.values()
        assert min(here.least) >= 3
        assert (await here.move())[0].numbers["moved"] == 0


async def test_a_move_whose_runner_died_is_finished_by_the_next_one(rig: Rig) -> None:
    async with stage(rig) as here:
        first = asyncio.create_task(here.move())
        await until(
            lambda: len(here.marathon.marathon.state.of_app("/web")) > 3, "it has grown", BOUND_S
        )
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

        (evidence,) = await here.move()

        assert evidence.ok
        assert here.leaving not in (await here.tasks()).values()
        app = await here.client.app("/web")
        assert app is not None
        assert (app.instances, app.running) == (3, 3)


@pytest.mark.long
async def test_an_app_that_finds_no_place_stays_as_it_was_and_tells_why(rig: Rig) -> None:
    async with stage(rig, with_room=False) as here:
        before = await here.tasks()
        with pytest.raises(ActFailedError, match="/web waits for 2"):
            await here.move(batch_s=1.0)
        await here.marathon.settled()
        app = await here.client.app("/web")
        assert app is not None
        assert (app.instances, await here.tasks()) == (3, before)


async def test_an_app_that_was_left_larger_gets_its_size_back(rig: Rig) -> None:
    async with stage(rig, with_room=False) as here:
        before = await here.tasks()
        # The runner died after this step, and the way back is taken.
        await here.client.scale_app("/web", 5)
        found = await apps.restore_sizes(here.world(), here.situation({"/web": 3}), here.tell)
        assert found.evidence[0].ok
        app = await here.client.app("/web")
        assert app is not None
        assert (app.instances, app.deployments, await here.tasks()) == (3, (), before)
