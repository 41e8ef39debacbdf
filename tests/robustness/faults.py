"""Which server is killed, and when: decided by a seed, so that a run can be repeated. Pure."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

# Transitions that begin at phases 1 to 5 of a migration with one client group.
TRANSITIONS = ("1 -> 2", "2 -> 3", "clients traffic -> target", "3 -> 4", "4 -> 5")
# A transition takes this long or longer on an idle machine, so most kills fall into the one named.
DELAY_MAX_S = 10.0


class Kind(StrEnum):
    """What may be killed."""

    MASTER = "masters"
    ENGINE = "sync-engine"
    ZOOKEEPER = "zookeeper"


@dataclass(frozen=True)
class Fault:
    """Kill one process of a kind, so long after a transition has begun.

    `choice` in [0, 1) picks among the processes of the kind that run at that moment.
    """

    transition: str
    delay_s: float
    kind: Kind
    choice: float

    def victim(self, programs: Collection[str]) -> str | None:
        """The program to kill among those that run; None when there is none of the kind."""
        fitting: Sequence[str] = sorted(name for name in programs if self.kind in name)
        return fitting[int(self.choice * len(fitting))] if fitting else None


def plan(seed: int) -> Fault:
    """The fault of a seed."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    return Fault(
        transition=chance.choice(TRANSITIONS),
        delay_s=round(chance.uniform(0, DELAY_MAX_S), 2),
        kind=chance.choice(list(Kind)),
        choice=chance.random(),
    )
