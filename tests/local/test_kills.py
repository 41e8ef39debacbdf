"""What a task, its framework and Marathon's clients hear of a kill."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from stacks.local.marathon.settings import MarathonSettings
from stacks.local.mesos import executor
from stacks.local.mesos.checkpoint import Checkpoint, TaskRecord
from stacks.local.mesos.executor import start_time
from stacks.local.mesos.tasks import TaskRunner
from tests.local.rig import Rig, until

# It notes each word to end, and goes on.
DEAF = "trap 'echo told >> told' TERM; touch ready; while :; do sleep 0.05; done"
LONG_S = 1000.0
SLOW: dict[str, Any] = {"zk_session_timeout_s": 10}


def order(*capabilities: str, command: str = DEAF) -> dict[str, Any]:
    named = [{"type": name} for name in capabilities]
    return {
        "framework_info": {"id": {"value": "f"}, "checkpoint": True, "capabilities": named},
        "task": {
            "task_id": {"value": "t"},
            "agent_id": {"value": "S0"},
            "command": {"value": command},
        },
        "role": "*",
    }


async def deaf(
    folder: Path, *capabilities: str, command: str = DEAF
) -> tuple[TaskRunner, TaskRecord, Path]:
    """A task that does not end by itself, and what it notes."""
    checkpoint = Checkpoint(folder)
    checkpoint.prepare()
    tasks = TaskRunner(checkpoint, folder, ip="127.0.0.1", grace_s=LONG_S, retry_s=LONG_S)
    tasks.run(order(*capabilities, command=command))
    (record,) = tasks.records.values()
    sandbox = Path(record.sandbox)
    await until((sandbox / "ready").exists, "the task runs")
    return tasks, record, sandbox / "told"


def after_restart(tasks: TaskRunner, folder: Path) -> tuple[TaskRunner, TaskRecord]:
    """What the next agent makes of a task, after the former one was killed."""
    tasks.records.clear()
    following = TaskRunner(
        Checkpoint(folder), folder, ip="127.0.0.1", grace_s=LONG_S, retry_s=LONG_S
    )
    following.recover()
    (record,) = following.records.values()
    return following, record


def states(record: TaskRecord) -> list[str]:
    return [status["state"] for status in record.statuses]


async def test_a_task_is_told_once_and_its_grace_period_only_gets_shorter(tmp_path: Path) -> None:
    tasks, record, told = await deaf(tmp_path)
    try:
        tasks.kill("f", "t")
        await until(told.exists, "it is told")

        tasks.kill("f", "t", 2 * LONG_S)
        tasks.kill("f", "t", 0.1)

        await until(lambda: record.is_terminal, "it is ended")
        assert told.read_text().split() == ["told"]
        assert states(record) == ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLED"]
    finally:
        tasks.shut_down()


async def test_a_framework_that_knows_the_state_hears_of_a_kill_before_its_task(
    tmp_path: Path,
) -> None:
    tasks, record, told = await deaf(tmp_path, "TASK_KILLING_STATE")
    try:
        tasks.kill("f", "t")

        assert states(record)[-1] == "TASK_KILLING"
        await until(told.exists, "it is told")
        tasks.kill("f", "t", 0.0)
        await until(lambda: record.is_terminal, "it is ended")
        assert states(record)[2:] == ["TASK_KILLING", "TASK_KILLED"]
    finally:
        tasks.shut_down()


async def test_an_agent_that_was_killed_goes_on_with_a_grace_period(tmp_path: Path) -> None:
    tasks, record, told = await deaf(tmp_path, "TASK_KILLING_STATE")
    tasks.kill("f", "t", 2 * LONG_S)
    await until(told.exists, "it is told")
    assert record.kill_began_s is not None
    earlier = record.kill_began_s - 2 * LONG_S + 0.2
    Checkpoint(tmp_path).write(replace(record, kill_began_s=earlier))

    following, record = after_restart(tasks, tmp_path)

    try:
        await until(lambda: record.is_terminal, "it is ended when the grace period is over")
        assert told.read_text().split() == ["told"]
        assert states(record)[2:] == ["TASK_KILLING", "TASK_KILLED"]
    finally:
        following.shut_down()


@pytest.mark.parametrize("writes", [1, 2])
async def test_a_kill_is_told_wherever_its_agent_is_killed(
    writes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, record, told = await deaf(tmp_path, "TASK_KILLING_STATE")
    left = iter(range(writes - 1))
    write = Checkpoint.write

    def write_and_die(checkpoint: Checkpoint, record: TaskRecord) -> None:
        write(checkpoint, record)
        if next(left, None) is None:
            raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(Checkpoint, "write", write_and_die)
        with pytest.raises(KeyboardInterrupt):
            tasks.kill("f", "t")

    following, record = after_restart(tasks, tmp_path)

    try:
        await until(told.exists, "it is told")
        assert states(record) == ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"]
        following.kill("f", "t", 0.0)
        await until(lambda: record.is_terminal, "it is ended")
        assert states(record)[2:] == ["TASK_KILLING", "TASK_KILLED"]
    finally:
        following.shut_down()


async def test_all_that_a_task_started_is_told(tmp_path: Path) -> None:
    child = "sleep 1000 & echo $! > child; touch ready; wait; wait"
    tasks, record, _ = await deaf(tmp_path, command=f"(sh -c '{child}'); true")
    try:
        pid = int((Path(record.sandbox) / "child").read_text())
        assert start_time(pid) is not None
        tasks.kill("f", "t")

        await until(lambda: start_time(pid) is None, "what it started ends, too")
        await until(lambda: record.is_terminal, "it is ended")
        assert states(record)[-1] == "TASK_KILLED"
    finally:
        tasks.shut_down()


@pytest.mark.parametrize("place", ['TERM 0" TERM\n', "\n(", "child=$!\n"])
async def test_a_task_ends_wherever_its_executor_is_told(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No signal can be placed between two lines of a shell from outside: the shell sends it itself.
    before, found, after = vars(executor)["_SCRIPT"].partition(place)
    assert found
    monkeypatch.setattr(executor, "_SCRIPT", f"{before}{place}kill -TERM $$\n{after}")

    task = executor.start("exec sleep 1000", tmp_path, {})

    try:
        await until((tmp_path / "exit").exists, "it ends")
        assert executor.exit_code(tmp_path) == 128 + signal.SIGTERM
    finally:
        if task is not None:
            executor.kill(task)


async def test_marathon_tells_that_an_instance_was_asked_to_end(rig: Rig) -> None:
    await rig.masters(count=1, **SLOW)
    await rig.agent(**SLOW)
    marathon = await rig.leading()
    app = {"id": "/deaf", "cmd": DEAF, "cpus": 0.1, "mem": 32, "taskKillGracePeriodSeconds": 1}
    await marathon.change("POST", "/v2/apps", app)
    (task,) = await marathon.running("/deaf", 1)
    await marathon.settled()

    await marathon.call("DELETE", f"/v2/apps/deaf/tasks/{task['id']}")

    async def of(state: str) -> bool:
        told = (await marathon.get("/v2/tasks"))["tasks"]
        return {one["id"]: one["state"] for one in told}.get(task["id"], "gone") == state

    await until(lambda: of("TASK_KILLING"), "it is asked to end")
    await until(lambda: of("gone"), "it is ended")


def test_an_unknown_feature_is_refused() -> None:
    given = {"listen": "127.0.0.1:1", "master": "zk://h:1/m", "zk": "zk://h:1/s"}
    made = MarathonSettings.model_validate({**given, "enable_features": "vips, task_killing"})
    assert made.features == {"vips", "task_killing"}
    with pytest.raises(ValidationError, match="task_kiling"):
        MarathonSettings.model_validate({**given, "enable_features": "task_kiling"})
