"""What a leading master counts; counters begin anew with every leader."""

from __future__ import annotations

from dataclasses import dataclass, field

from stacks.local.mesos import values


@dataclass
class Counters:
    """What only ever grows while this master leads."""

    tasks: dict[str, int] = field(default_factory=dict[str, int])
    registrations: int = 0
    reregistrations: int = 0
    removals: int = 0
    unreachable: int = 0
    updates: int = 0
    acknowledgements: int = 0
    launches: int = 0
    kills: int = 0
    recovery_removals: int = 0

    def note_end(self, state: str) -> None:
        """Count a task that ended so; other states are counted as they are."""
        if state in values.TERMINAL_STATES:
            self.tasks[state] = self.tasks.get(state, 0) + 1
