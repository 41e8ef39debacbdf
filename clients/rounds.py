"""Asking the members of a group, one after the other, until one answers or the time is over.

After each round through all of them comes a pause, twice as long as the one before: an election is
not to become a storm of requests.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from clients.errors import TryAgainError

_PAUSE_S = 0.1
_PAUSE_MAX_S = 1.6


class Rounds:
    """Attempts of one request. `members` are asked in their order, `timeout_s` bounds them all."""

    def __init__(self, members: Sequence[str], timeout_s: float) -> None:
        self._members = members
        self._attempts = 0
        self._pause_s = _PAUSE_S
        self.deadline = time.monotonic() + timeout_s
        """By the monotonic clock."""

    @property
    def member(self) -> str:
        """Whom to ask now."""
        return self._members[self._attempts % len(self._members)]

    async def again(self, failure: TryAgainError, *, repeatable: bool) -> None:
        """Go on to the next member, after a pause where all have been asked.

        Raises:
            Exception: what the attempt failed with: no time is left, or it must not be repeated.
        """
        self._attempts += 1
        if self.is_over or not repeatable:
            raise failure.error from None
        if self._attempts % len(self._members) == 0:
            await self.pause()

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self.deadline

    async def pause(self) -> None:
        """Rest between two rounds, no longer than there is time."""
        await asyncio.sleep(min(self._pause_s, max(0.0, self.deadline - time.monotonic())))
        self._pause_s = min(2 * self._pause_s, _PAUSE_MAX_S)
