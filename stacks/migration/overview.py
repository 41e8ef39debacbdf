"""What the verbs tell: what would be walked, and where a stack stands. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stacks.migration.journal import Kind, Story
from stacks.migration.planner import Goal, Transition, goal_text
from stacks.topology import Standing


@dataclass(frozen=True)
class Plan:
    """What would be walked."""

    standing: Standing
    goal: Goal
    transitions: tuple[Transition, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "standing": standing_dict(self.standing),
            "goal": goal_text(self.goal),
            "transitions": [
                {
                    "name": transition.name,
                    "direction": str(transition.direction),
                    "steps": [
                        {"name": step.name, "kind": str(step.kind)} for step in transition.steps
                    ],
                }
                for transition in self.transitions
            ],
        }


@dataclass(frozen=True)
class Status:
    """Where a stack stands, by its state and by the journal."""

    stack: str
    standing: Standing | None
    desired: Standing
    story: Story
    is_running: bool
    journal_file: Path

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        last = self.story.records[-1].as_dict() if self.story.records else None
        return {
            "stack": self.stack,
            "standing": standing_dict(self.standing) if self.standing else None,
            "desired": standing_dict(self.desired),
            "migration": self.story.migration,
            "goal": self.story.goal,
            "open": self.open_name,
            "running": self.is_running,
            "last_record": last,
            "journal": str(self.journal_file),
        }

    @property
    def open_name(self) -> str | None:
        """Name of the transition that began and did not end."""
        started = [
            record
            for record in self.story.records
            if record.kind is Kind.TRANSITION_STARTED
            and record.transition == self.story.open_transition
        ]
        return started[-1].name if started else None


def standing_dict(standing: Standing) -> dict[str, Any]:
    """A standing as plain values."""
    return {
        "source": str(standing.source),
        "target": str(standing.target),
        "position": str(standing.position),
        "client_groups": {name: str(where) for name, where in standing.groups.items()},
    }
