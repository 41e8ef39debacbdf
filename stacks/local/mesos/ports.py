"""Ports as ranges: what an agent has, what tasks and offers hold, what is left.

Ports are the one resource of the field that is no sum: a task takes particular ones. Ranges are
inclusive at both ends, as in Mesos, and are kept sorted and apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Ranges = tuple[tuple[int, int], ...]
_NAME = "ports"


def of(resources: Iterable[Mapping[str, Any]]) -> Ranges:
    """Ports among resources."""
    found = [
        (int(piece["begin"]), int(piece["end"]))
        for resource in resources
        if resource["name"] == _NAME and "ranges" in resource
        for piece in resource["ranges"].get("range", ())
    ]
    return merge(found)


def merge(pieces: Iterable[tuple[int, int]]) -> Ranges:
    """Sorted, apart and as long as they can be."""
    result: list[tuple[int, int]] = []
    for begin, end in sorted(pieces):
        if result and begin <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((begin, end))
    return tuple(result)


def subtract(left: Ranges, right: Ranges) -> Ranges:
    """What is on the left alone."""
    for begin, end in right:
        left = tuple(piece for whole in left for piece in _cut(whole, begin, end))
    return left


def _cut(whole: tuple[int, int], begin: int, end: int) -> list[tuple[int, int]]:
    first, last = whole
    pieces = [(first, min(last, begin - 1)), (max(first, end + 1), last)]
    if end < first or begin > last:
        return [whole]
    return [piece for piece in pieces if piece[0] <= piece[1]]


def contains(outer: Ranges, inner: Ranges) -> bool:
    """Whether every port of `inner` is there."""
    return all(any(b <= begin and end <= e for b, e in outer) for begin, end in inner)


def resource(ranges: Ranges, *, role: str | None = None) -> dict[str, Any]:
    """Back to a v1 resource; with a role it says to whom it is allocated."""
    made: dict[str, Any] = {
        "name": _NAME,
        "type": "RANGES",
        "ranges": {"range": [{"begin": begin, "end": end} for begin, end in ranges]},
    }
    if role is not None:
        made |= {"role": "*", "allocation_info": {"role": role}}
    return made


def text(ranges: Ranges) -> str | None:
    """As the unversioned endpoints show them, `[31000-31001, 31005-31005]`."""
    return f"[{', '.join(f'{b}-{e}' for b, e in ranges)}]" if ranges else None
