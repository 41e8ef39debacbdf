"""What a running migration tells its listener: values for a live table, a log or a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from stacks.migration.evidence import Findings
from stacks.migration.phases import Step
from stacks.migration.planner import Transition
from stacks.topology import Standing


@dataclass(frozen=True)
class PlanMade:
    """What is about to be walked, in order."""

    transitions: tuple[Transition, ...]
    standing: Standing


@dataclass(frozen=True)
class TransitionStarted:
    """A transition begins, or goes on."""

    transition: Transition
    standing: Standing


@dataclass(frozen=True)
class StepStarted:
    """A step begins."""

    transition: Transition
    step: Step


@dataclass(frozen=True)
class StepProgress:
    """What a step is doing, for people."""

    transition: Transition
    step: Step
    text: str


@dataclass(frozen=True)
class StepEnded:
    """A step ended; `error` is None when it ended well."""

    transition: Transition
    step: Step
    seconds: float
    findings: Findings = field(default_factory=Findings)
    error: str | None = None


@dataclass(frozen=True)
class TransitionEnded:
    """A transition ended; `error` is None when it ended well."""

    transition: Transition
    standing: Standing
    seconds: float
    error: str | None = None


Event = PlanMade | TransitionStarted | StepStarted | StepProgress | StepEnded | TransitionEnded
Listener = Callable[[Event], None]


def ignore(_: Event) -> None:
    """The listener of who does not listen."""
