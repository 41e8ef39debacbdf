"""Containers that a runtime does not tell of, though it answers: each is missed by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from probe.agent.errors import HttpError, UnreachableError
from probe.agent.text import clean

_AGAIN_S = 60.0

T = TypeVar("T")


async def answer_of(
    question: Awaitable[T], sign_of_life: Callable[[], Awaitable[object]]
) -> T | HttpError:
    """What a runtime says of one container, or why it does not.

    Raises:
        HttpError: it is the runtime itself that does not answer.
    """
    try:
        return await question
    except HttpError as error:
        if isinstance(error, UnreachableError):
            await sign_of_life()
        return error


class Unseen:
    """Which those are, and when they are to be asked for again. The last asked comes last."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asked_again_at = clock()
        self._problems: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._problems)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._problems

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._problems))

    @property
    def problem(self) -> str:
        """What one of them did; empty without any."""
        return next(iter(self._problems.values()), "")

    def note(self, id_: str, error: HttpError) -> None:
        """One was asked for, and not told of."""
        self._problems.pop(id_, None)
        self._problems[id_] = clean(str(error))

    def forget(self, id_: str) -> None:
        """One was told of, or has gone."""
        self._problems.pop(id_, None)

    def clear(self) -> None:
        """All are asked for anew."""
        self._problems.clear()

    def is_time(self) -> bool:
        """Whether it is time to ask for them again; once a minute."""
        now = self._clock()
        if now - self._asked_again_at < _AGAIN_S:
            return False
        self._asked_again_at = now
        return True
