"""How tasks are counted: by their framework's word and by their processes, and never by one that a
restart of the framework has made to forget."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from stacks.demo.observations import Observations, TaskUpdate
from stacks.demo.observer import Observer, read_updates
from stacks.demo.processes import Processes
from tests.stacks.demo import stub_cluster
from tests.waiting import until


class Machine:
    """Processes that live until a test ends them."""

    def __init__(self, *pids: int) -> None:
        self.started = {pid: 1000 + pid for pid in pids}

    def __call__(self, pid: int) -> int | None:
        return self.started.get(pid)


def task(name: str, pid: int | None, *, healthy: bool = True) -> dict[str, Any]:
    return {"id": name, "pid": pid, "healthy": healthy}


def state(*tasks: dict[str, Any]) -> dict[str, Any]:
    return {
        "target": 2,
        "healthy": sum(t["healthy"] for t in tasks),
        "registered_with": "127.0.0.1:1",
        "framework_id": "f",
        "tasks": list(tasks),
    }


def test_a_task_is_healthy_when_it_is_called_so_and_its_process_lives() -> None:
    machine = Machine(1, 2)
    known = Processes(machine)
    shown = state(task("a", 1), task("b", 2))
    assert known.sample(shown, known.look(), 0.0).healthy == 2

    del machine.started[2]

    assert known.sample(shown, known.look(), 1.0).healthy == 1


def test_a_process_that_took_over_an_id_is_another_one() -> None:
    machine = Machine(1)
    known = Processes(machine)
    known.sample(state(task("a", 1)), {}, 0.0)
    machine.started[1] = 99_999

    assert known.look() == {"a": False}


def test_a_framework_that_was_started_again_does_not_make_its_tasks_ill() -> None:
    known = Processes(Machine(1, 2))
    known.sample(state(task("a", 1), task("b", 2)), {}, 0.0)
    forgetful = state(task("a", None, healthy=False), task("b", None, healthy=False))

    sample = known.sample(forgetful, known.look(), 1.0)

    assert (sample.healthy, sample.told, sample.pids) == (2, 0, {"a": 1, "b": 2})


def test_a_task_that_was_never_seen_to_run_is_not_healthy() -> None:
    known = Processes(Machine(1))

    assert known.sample(state(task("a", None, healthy=False)), {}, 0.0).healthy == 0


def test_a_task_that_is_killed_between_two_looks_counts_with_its_replacement() -> None:
    """The old one lived when the framework was asked, the new one ran by its answer."""
    machine = Machine(1, 2, 3)
    known = Processes(machine)
    known.sample(state(task("a", 1), task("b", 2)), {}, 0.0)
    looked = known.look()
    del machine.started[2]

    sample = known.sample(state(task("a", 1), task("b", 2), task("c", 3)), looked, 1.0)
    later = known.sample(state(task("a", 1), task("c", 3)), known.look(), 2.0)

    assert (sample.healthy, later.healthy) == (3, 2)
    assert later.pids == {"a": 1, "c": 3}
    assert known.look() == {"a": True, "c": True}


def test_a_task_that_its_agent_tells_of_while_the_framework_answers_counts() -> None:
    known = Processes(Machine(1, 2))
    known.sample(state(task("a", 1)), {}, 0.0)
    looked = known.look()
    told = {"id": "b", "pid": 2, "state": "TASK_RUNNING", "framework_id": "f"}
    known.learn_from_agent({"tasks": [told]}, "f")
    known.learn_from_agent({"tasks": [{**told, "id": "of-another", "framework_id": "g"}]}, "f")
    assert set(known.look()) == {"a", "b"}

    assert known.sample(state(task("a", 1), task("b", 2)), looked, 1.0).healthy == 2


def test_another_process_of_the_same_task_is_seen() -> None:
    known = Processes(Machine(1, 7))
    known.sample(state(task("a", 1)), {}, 0.0)

    assert known.sample(state(task("a", 7)), known.look(), 1.0).pids == {"a": 7}


def test_a_torn_last_line_of_the_log_is_left_out(tmp_path: Path) -> None:
    line = (
        '{"at": 1.5, "task_id": "a", "state": "TASK_RUNNING", "reason": null, "agent_id": "S0"}\n'
    )
    (tmp_path / "updates.jsonl").write_text(line + line[:20])

    assert read_updates(tmp_path) == [TaskUpdate(1.5, "a", "TASK_RUNNING", None, "S0")]
    assert read_updates(tmp_path / "nowhere") == []


async def test_looking_goes_on_while_parts_are_away() -> None:
    """A framework that stands still is no sample without tasks, and comes back as the same one."""
    seen = Observations()
    async with stub_cluster.running() as stub, Observer(seen, stub.addresses) as observer:
        await until(lambda: seen.tasks and seen.traffic and seen.registrations, "it looked")
        stub.is_framework_away = True
        await until(lambda: seen.tasks[-1].told is None, "it saw the framework away")
        away = seen.tasks[-1]
        stub.is_framework_away = False
        await until(lambda: seen.tasks[-1].told is not None, "it saw the framework back")
        observer.check()

    assert away.healthy == away.target == 1
    assert seen.tasks[0].pids == away.pids == {"task-1": os.getpid()}
    assert [r.event for r in seen.registrations] == ["registered"]
    assert [s.master for s in seen.subscriptions] == ["127.0.0.1:5050"]
    assert seen.replacements == {"task-0": "task-1"}
    assert seen.engine == []


async def test_a_framework_that_has_read_nothing_yet_has_lost_nothing() -> None:
    """It answers as soon as it listens, with no task, and is asked in that very moment."""
    seen = Observations()
    async with stub_cluster.running() as stub, Observer(seen, stub.addresses):
        await until(lambda: seen.tasks, "it looked")
        stub.state = {**stub.state, "registered_with": None, "tasks": [], "healthy": 0}
        count = len(seen.tasks)
        await until(lambda: len(seen.tasks) > count + 2, "it looked again")

    assert {sample.healthy for sample in seen.tasks} == {1}
    assert seen.tasks[-1].told is None


async def test_an_observer_that_ends_is_noticed() -> None:
    async with stub_cluster.running() as stub:
        stub.state = {"unexpected": True}
        async with Observer(Observations(), stub.addresses) as observer:
            with pytest.raises(KeyError):
                await until(observer.check, "it ended")
