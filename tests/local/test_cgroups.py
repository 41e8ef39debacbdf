"""Limits of tasks: on folders like either version's, and on the kernel where that is permitted."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from stacks.local.mesos import values
from stacks.local.mesos.cgroups import Cgroups
from stacks.local.mesos.checkpoint import Checkpoint
from stacks.local.mesos.tasks import TaskRunner
from stacks.local.mesos.values import Scalars
from tests.local import rig
from tests.local.rig import require_control_groups
from tests.waiting import until


def test_version_1_gets_a_group_a_controller(tmp_path: Path) -> None:
    for name in ("cpu", "memory"):
        (tmp_path / name).mkdir()
    groups = Cgroups(tmp_path).make("c1", {"cpus": 0.5, "mem": 64.0})
    assert groups == [tmp_path / "cpu" / "mesos" / "c1", tmp_path / "memory" / "mesos" / "c1"]
    assert (groups[0] / "cpu.cfs_quota_us").read_text() == "50000"
    assert (groups[0] / "cpu.cfs_period_us").read_text() == "100000"
    assert (groups[1] / "memory.limit_in_bytes").read_text() == str(64 * 1024 * 1024)


def test_version_2_gets_one_group_and_least_values(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    cgroups = Cgroups(tmp_path)
    (group,) = cgroups.make("c1", {"cpus": 0.001, "mem": 1.0})
    assert (group / "cpu.max").read_text() == "1000 100000"
    assert (group / "memory.max").read_text() == str(32 * 1024 * 1024)
    assert (tmp_path / "mesos" / "cgroup.subtree_control").read_text() == "+cpu +memory"
    assert not cgroups.ran_out_of_memory("c1")
    (group / "memory.events").write_text("oom 1\noom_kill 1\n")
    assert cgroups.ran_out_of_memory("c1")


def order(command: str, mem: float) -> dict[str, Any]:
    return {
        "framework_info": {"id": {"value": "f"}, "checkpoint": True},
        "task": {
            "task_id": {"value": "t"},
            "agent_id": {"value": "S0"},
            "command": {"value": command},
            "resources": values.scalar_list({"cpus": 0.5, "mem": mem}),
        },
        "role": "*",
    }


def runner(folder: Path, cgroups: Cgroups) -> TaskRunner:
    checkpoint = Checkpoint(folder)
    checkpoint.prepare()
    return TaskRunner(
        checkpoint, folder, ip="127.0.0.1", grace_s=1.0, retry_s=1000.0, cgroups=cgroups
    )


class Refused(Cgroups):
    """Of a machine that lets nobody make groups."""

    def make(self, container_id: str, resources: Scalars) -> list[Path]:
        raise PermissionError(container_id, resources)


@pytest.mark.parametrize(
    ("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)]
)
def test_tests_of_limits_are_left_out_where_no_groups_may_be_made_but_not_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setattr(rig, "Cgroups", Refused)
    monkeypatch.setenv("CI", ci)

    with pytest.raises(outcome, match="the right to make control groups"):
        require_control_groups()


def test_asking_for_groups_takes_none_from_who_asks_at_the_same_time_and_leaves_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []
    removed: list[str] = []

    class Noted(Cgroups):
        def make(self, container_id: str, resources: Scalars) -> list[Path]:
            del resources
            made.append(container_id)
            return []

        def remove(self, container_id: str) -> None:
            removed.append(container_id)

    monkeypatch.setattr(rig, "Cgroups", Noted)

    require_control_groups()
    require_control_groups()

    assert made == removed
    assert len({*made}) == 2


async def test_where_groups_may_not_be_made_tasks_run_without_limits(tmp_path: Path) -> None:
    (tmp_path / "cpu").write_text("no folder")
    tasks = runner(tmp_path, Cgroups(tmp_path))
    tasks.run(order("exit 0", 64.0))
    (record,) = tasks.records.values()
    await until(lambda: record.is_terminal, "it ends")
    assert record.state == "TASK_FINISHED"
    tasks.shut_down()


async def test_a_task_that_takes_more_memory_than_it_has_is_ended_and_its_groups_go(
    tmp_path: Path,
) -> None:
    require_control_groups()
    cgroups = Cgroups()
    tasks = runner(tmp_path, cgroups)
    # tail holds all of a line until it has seen its end.
    tasks.run(order("tail /dev/zero", 48.0))
    (record,) = tasks.records.values()
    groups = cgroups.of(record.container_id)
    assert all(group.is_dir() for group in groups)
    await until(lambda: record.is_terminal, "it is ended", 60.0)
    assert record.state == "TASK_FAILED"
    assert record.statuses[-1]["reason"] == "REASON_CONTAINER_LIMITATION_MEMORY"
    # Once its statuses are acknowledged, nothing is left of it.
    while record.pending:
        tasks.acknowledge("f", "t", record.pending[0]["uuid"])
        await asyncio.sleep(0)
    assert tasks.records == {}
    assert not any(group.exists() for group in groups)
