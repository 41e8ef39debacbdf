"""In what order tests run, so that no worker is left alone with the longest ones.

pytest-xdist (`--dist worksteal`) first gives each worker an equal, contiguous part of the list, the
remainder spread over the last ones, and lets whoever is idle take the tail of the longest part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def parts(count: int, workers: int) -> list[int]:
    """How many of so many tests each worker is given at first, in the list's order."""
    given: list[int] = []
    for remaining in range(workers, 0, -1):
        given.append((count - sum(given)) // remaining)
    return given


def longest_first(
    items: Sequence[T],
    workers: int,
    *,
    bound_s: Callable[[T], float],
    takes_turns: Callable[[T], bool],
    shares: Callable[[T], bool],
    slow_s: float,
) -> list[T]:
    """The tests so that each worker begins with its share of the slow ones, longest bound first.

    Those that take turns (only one of them runs on a machine at a time) are all the first worker's:
    two workers with one each would have one wait for the other. Those that share what is dear to
    have are the last worker's, or the first among its turns, one after another: it is there once,
    and for no longer than they. Among equals those with the longest bound come first.
    """
    turns = [item for item in items if takes_turns(item)]
    turns.sort(key=lambda item: (shares(item), bound_s(item)), reverse=True)
    sharing = [item for item in items if not takes_turns(item) and shares(item)]
    sharing.sort(key=bound_s, reverse=True)
    taken = {id(item) for item in (*turns, *sharing)}
    slow = [item for item in items if id(item) not in taken and bound_s(item) >= slow_s]
    slow.sort(key=bound_s, reverse=True)
    begins: list[list[T]] = [[*turns], *([] for _ in range(workers - 1))]
    for at, item in enumerate(slow, start=1 if turns else 0):
        begins[at % workers].append(item)
    begins[-1] += sharing
    begun = {id(item) for begin in begins for item in begin}
    others = iter([item for item in items if id(item) not in begun])
    ordered: list[T] = []
    for begin, size in zip(begins, parts(len(items), workers), strict=True):
        ordered += begin
        ordered += [item for _, item in zip(range(size - len(begin)), others, strict=False)]
    return [*ordered, *others]
