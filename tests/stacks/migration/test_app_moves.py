"""An app that is taken off agents: it never has fewer healthy instances than it wants, whoever dies
in between, and which apps are not moved unasked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.marathon.model import Task
from stacks.migration.app_moves import (
    AppSeen,
    Await,
    Grow,
    Moved,
    Retire,
    Shrink,
    next_step,
    why_ask,
)
from stacks.migration.marathon import tasks_on

STEPS_MAX = 200


@dataclass
class Marathon:
    """One app, whose deployments end when time passes."""

    instances: int
    old: list[str]
    new: int = 0
    doomed: list[str] = field(default_factory=list[str])
    is_deploying: bool = False

    @property
    def healthy(self) -> int:
        return len(self.old) + self.new

    def seen(self, size: int) -> AppSeen:
        deployments = ("d",) if self.is_deploying else ()
        return AppSeen(size, self.instances, self.healthy, tuple(self.old), deployments)

    def take(self, step: Grow | Retire | Shrink) -> None:
        assert not self.is_deploying, "a locked app refuses changes"
        self.is_deploying = True
        match step:
            case Grow(instances) | Shrink(instances):
                self.instances = instances
            case Retire(tasks):
                self.doomed = list(tasks)
                self.instances -= len(tasks)

    def pass_time(self) -> None:
        self.old = [task for task in self.old if task not in self.doomed]
        self.doomed = []
        self.new = self.instances - len(self.old)
        self.is_deploying = False


@given(
    size=st.integers(1, 9), batch=st.integers(1, 4), lost=st.sets(st.integers(0, 60)),
    moved=st.integers(0, 9),
)  # fmt: skip
def test_an_app_is_moved_whole_and_never_short(
    size: int, batch: int, lost: set[int], moved: int
) -> None:
    """In rounds of `lost` the runner dies after its step, and another one looks afresh."""
    moved = min(moved, size)
    marathon = Marathon(size, [f"t{n}" for n in range(size - moved)], new=moved)
    for number in range(STEPS_MAX):
        step = next_step(marathon.seen(size), batch=batch)
        if isinstance(step, Moved):
            break
        if isinstance(step, Await):
            marathon.pass_time()
        else:
            marathon.take(step)
            if number in lost:
                continue
        assert size <= marathon.healthy <= size + batch
    assert (marathon.old, marathon.instances, marathon.new) == ([], size, size)


def test_an_app_that_its_owner_made_smaller_meanwhile_stays_so() -> None:
    seen = AppSeen(size=5, instances=2, healthy=2, leaving=("a", "b"))
    assert next_step(seen, batch=4) == Grow(4)


def test_nothing_is_killed_before_what_replaces_it_is_healthy() -> None:
    seen = AppSeen(size=2, instances=4, healthy=3, leaving=("a", "b"))
    assert isinstance(next_step(seen, batch=2), Await)


def test_instances_that_are_left_over_are_given_up() -> None:
    assert next_step(AppSeen(2, 5, 5, ()), batch=2) == Shrink(2)


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ({"instances": 2}, None),
        ({"instances": 1}, "one instance"),
        ({"instances": 2, "constraints": [["hostname", "GROUP_BY"]]}, None),
        ({"instances": 2, "constraints": [["hostname", "UNIQUE"]]}, "hostname UNIQUE"),
        ({"instances": 2, "constraints": [["rack", "MAX_PER", "1"]]}, "rack MAX_PER 1"),
        ({"instances": 2, "constraints": [["hostname", "CLUSTER", "h1"]]}, "bound to hosts"),
        ({"instances": 2, "constraints": [["rack", "LIKE", "r.*"]]}, None),
        (
            {
                "instances": 2,
                "container": {"volumes": [{"containerPath": "d", "persistent": {"size": 1}}]},
            },
            "keeps data",
        ),
        (
            {
                "instances": 2,
                "container": {"volumes": [{"containerPath": "d", "external": {"name": "v"}}]},
            },
            None,
        ),
    ],
)
def test_what_speaks_against_a_move_is_told(definition: dict[str, Any], words: str | None) -> None:
    reason = why_ask(definition)
    assert (reason is None) is (words is None)
    assert (words or "") in (reason or "")


def test_an_instance_that_was_asked_to_end_is_there_and_not_to_be_moved() -> None:
    states = ("TASK_RUNNING", "TASK_UNREACHABLE", "TASK_KILLING", "TASK_KILLED")
    tasks = tuple(
        Task(state, "/a", agent_id, "h", (), state, "v", None, None, healthy=None)
        for state in states
        for agent_id in ("S0", "S1")
    )
    there = tasks_on(tasks, frozenset({"S0"}))
    assert there.staying == ("TASK_RUNNING", "TASK_UNREACHABLE")
    assert there.ending == ("TASK_KILLING",)


@pytest.mark.parametrize(
    ("instances", "leaving"), [(2, ()), (4, ()), (4, ("b",))], ids=["last", "larger", "grown"]
)
def test_what_was_asked_to_end_is_waited_for(instances: int, leaving: tuple[str, ...]) -> None:
    seen = AppSeen(2, instances, instances, leaving, ending=("a",))
    assert next_step(seen, batch=2) == Await("instances that end: 1")


def test_an_app_does_not_grow_for_what_was_asked_to_end() -> None:
    seen = AppSeen(size=3, instances=3, healthy=3, leaving=("b",), ending=("a",))
    assert next_step(seen, batch=2) == Grow(4)
