"""What a collector is: something that looks at one source, and says what it cannot see.

A collector writes what it sees into the tables of its site. The runner looks after it: it is timed,
slowed down when the budget is short, restarted when it hangs. It may raise; that is counted and
shown, and the others go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol


class State(StrEnum):
    """How much a collector sees of its source."""

    FULL = "full"
    PARTIAL = "partial"
    ABSENT = "absent"
    FAILED = "failed"


@dataclass(frozen=True)
class Miss:
    """Something that cannot be seen, and what would add it."""

    what: str
    grant: str

    def __str__(self) -> str:
        return f"{self.what}: {self.grant}"


@dataclass(frozen=True)
class Capability:
    """What a collector can do here. `mode` says how it looks."""

    state: State
    mode: str
    misses: tuple[Miss, ...] = ()


class Collector(Protocol):
    """One source. Made anew after a restart, so the constructor does nothing that can hang."""

    name: ClassVar[str]
    interval_s: ClassVar[float]
    """Between two looks while the budget allows it."""

    async def start(self) -> None:
        """Find out what is here; called once, before the first look.

        Raises:
            AbsentError: there is nothing to look at, or it is not allowed.
        """
        ...

    async def collect(self) -> None:
        """Look once, and write what is seen."""
        ...

    def capability(self) -> Capability:
        """What it can do here, as known now."""
        ...

    async def close(self) -> None:
        """Let go of everything; called once, also after a failure."""
        ...
