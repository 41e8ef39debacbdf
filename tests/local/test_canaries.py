"""What the sample framework reports of its canaries."""

from __future__ import annotations

import asyncio

import pytest

from stacks.local.sample.launch import Canary


@pytest.mark.parametrize(
    ("states", "ok"),
    [
        ([], None),
        (["TASK_RUNNING"], None),
        (["TASK_RUNNING", "TASK_FINISHED"], True),
        (["TASK_RUNNING", "TASK_FAILED"], False),
        *(
            (["TASK_STARTING", state], None)
            for state in ("TASK_LOST", "TASK_KILLED", "TASK_DROPPED", "TASK_GONE", "TASK_UNKNOWN")
        ),
    ],
)
async def test_only_a_canary_that_ended_by_itself_tells_of_its_agent(
    states: list[str], ok: bool | None
) -> None:
    done = asyncio.get_running_loop().create_future()
    canary = Canary("canary-1", {}, done, agent_id="a", states=states, limited=True)

    assert (canary.report["ok"], canary.report["states"]) == (ok, states)
