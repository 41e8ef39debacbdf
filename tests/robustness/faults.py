"""Which server is killed, and when: decided by a seed, so that a run can be repeated. Pure."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

# Transitions that begin at phases 1 to 5 of a migration with one client group.
TRANSITIONS = ("1 -> 2", "2 -> 3", "clients traffic -> target", "3 -> 4", "4 -> 5")
# A transition takes this long or longer on an idle machine, so most kills fall into the one named.
DELAY_MAX_S = 10.0
T = TypeVar("T")


class Kind(StrEnum):
    """What may be killed."""

    MASTER = "masters"
    ENGINE = "sync-engine"
    BLUE_ZOOKEEPER = "blue-zookeeper"
    GREEN_ZOOKEEPER = "green-zookeeper"


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
    """The fault of a seed. Any ten in a row have every kind and every transition among them."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    return Fault(
        transition=_deal(TRANSITIONS, seed),
        delay_s=round(chance.uniform(0, DELAY_MAX_S), 2),
        kind=_deal(tuple(Kind), seed),
        choice=chance.random(),
    )


def _deal(cards: Sequence[T], seed: int) -> T:
    """Each seed takes one of a shuffled deck, and a new deck when that is dealt: ten seeds that
    draw for themselves may well never kill a server of green."""
    deck, place = divmod(seed, len(cards))
    return random.Random(deck).sample(cards, len(cards))[place]  # noqa: S311 - as above
