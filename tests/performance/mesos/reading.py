"""Rows about reading a large cluster's state: seconds and memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from tests.performance.mesos.stage import Stage
from tests.performance.mesos.state import measured
from tests.performance.table import Figure

_TARGET_S, _TARGET_MB = 2.0, 300.0


async def state(stage: Stage) -> AsyncGenerator[Figure]:
    """GET_STATE of many agents, with and without many tasks, as the operator client reads it."""
    for tasks in (0, stage.sizes.state_tasks):
        seen = await measured(stage.sizes.state_agents, tasks)
        what = f"state of {seen.agents:,} agents and {seen.tasks:,} tasks"
        note = f"{seen.size_mb:.0f} MB over loopback"
        yield Figure(
            f"{what}, read", "s", seen.wall_s, _TARGET_S, anchor=seen.plain_s,
            anchor_name="json.loads alone, without values", note=note,
        )  # fmt: skip
        yield Figure(
            f"{what}, processor time", "s", seen.cpu_s, anchor=seen.plain_cpu_s,
            anchor_name="json.loads alone, without values", note=note,
        )  # fmt: skip
        yield Figure(
            f"{what}, memory", "MB", seen.used_mb, _TARGET_MB, anchor=seen.plain_mb,
            anchor_name="json.loads alone, without values", note=note,
        )  # fmt: skip
