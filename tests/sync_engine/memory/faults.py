"""What goes wrong between the engine and an ensemble: decided by whoever arms it, or by chance."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from sync_engine.wire import OpCode


class Fate(StrEnum):
    """What becomes of a request."""

    SERVED = "served"
    LOST_BEFORE = "lost-before"
    """The connection breaks, and the request with it."""
    LOST_AFTER = "lost-after"
    """The connection breaks once the request was applied; its answer never comes."""
    DELAYED = "delayed"
    """It arrives late, and everything behind it on its connection."""


DELAY_S = 0.4
_BREAKING = (Fate.LOST_BEFORE, Fate.LOST_AFTER, Fate.DELAYED)
WRITES = frozenset({OpCode.MULTI, OpCode.CREATE2, OpCode.SET_DATA, OpCode.DELETE, OpCode.SET_ACL})


@dataclass(slots=True)
class _Armed:
    fate: Fate
    codes: frozenset[OpCode]
    skip: int


class Faults:
    """Of one ensemble. `rate` is the share of requests to which something happens by chance."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._armed: list[_Armed] = []
        self.rate = 0.0

    def arm(self, fate: Fate, *, codes: frozenset[OpCode] = WRITES, skip: int = 0) -> None:
        """Let this happen to a request of these kinds, after letting `skip` of them pass."""
        self._armed.append(_Armed(fate, codes, skip))

    @property
    def is_armed(self) -> bool:
        """Whether something that was armed has not happened yet."""
        return bool(self._armed)

    def clear(self) -> None:
        """Let everything go well from now on."""
        self._armed.clear()
        self.rate = 0.0

    def judge(self, code: OpCode) -> Fate:
        """What becomes of this request."""
        for armed in self._armed:
            if code not in armed.codes:
                continue
            if armed.skip == 0:
                self._armed.remove(armed)
                return armed.fate
            armed.skip -= 1
        if self.rate and self._chance.random() < self.rate:
            return self._chance.choice(_BREAKING)
        return Fate.SERVED
