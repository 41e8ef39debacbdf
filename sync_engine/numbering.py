"""Which number a projected leader gets. Pure.

An election's leader is the child with the lowest number behind the last underscore of its name,
whatever stands before it. Detectors compare numbers alone: new data under a known number goes
unnoticed. So a projection of another leader needs another number, always below every live one, and
the number that was not used for longest, lest a slow detector take it for the one it knows. Only
numbers that the path's counter has passed may be used, or a later candidate's create would collide.

Sources: Mesos' src/zookeeper/group.cpp and src/master/detector/zookeeper.cpp.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sync_engine.errors import EngineRefusedError

# Numbers to rotate through; more than this would only make the history long.
_ROTATION_MAX = 16
DIGITS = 10


def number_of(name: str) -> int | None:
    """The number of a child; None if it has none and takes no part."""
    last = name.rpartition("_")[2]
    return int(last) if last.isascii() and last.isdecimal() else None


def lowest(names: Iterable[str]) -> str | None:
    """The leading child."""
    found = {number: name for name in sorted(names) if (number := number_of(name)) is not None}
    return found[min(found)] if found else None


def node_name(label: str, number: int) -> str:
    """Name of a candidate."""
    return f"{label}{number:0{DIGITS}d}"


def free_numbers(live: Iterable[int], counter: int) -> list[int]:
    """Numbers below every live one that no candidate will ever get."""
    return list(range(min([counter, *live])))[:_ROTATION_MAX]


def choose(live: Sequence[int], *, counter: int, own: int | None, history: Sequence[int]) -> int:
    """The number for another leader.

    `live` are the numbers of others, `counter` is how many children the path ever had, `own` stands
    there now. The first projection needs a second free number, for the next change of leader.

    Raises:
        EngineRefusedError: too few numbers are free.
    """
    free = free_numbers(live, counter)
    candidates = [number for number in free if number != own]
    needed = 2 if own is None else 1
    if len(candidates) < needed:
        lowest_live = min(live) if live else counter
        msg = (
            f"expected {needed} free numbers below the lowest live one, saw {len(candidates)} "
            f"below {lowest_live}: restart that side's masters, followers before the leader, "
            "so that their numbers rise"
        )
        raise EngineRefusedError(msg, type="NoNumberFree")
    last_use = {number: at for at, number in enumerate(history)}
    return min(candidates, key=lambda number: (last_use.get(number, -1), number))


def remembered(history: Sequence[int], number: int) -> tuple[int, ...]:
    """The history after a use, newest last, each number once."""
    kept = [used for used in history if used != number]
    return (*kept, number)[-_ROTATION_MAX:]


def address_of(data: bytes | None) -> str | None:
    """`host:port` in a leader's JSON, for people to read; nothing depends on it."""
    try:
        info: dict[str, Any] = json.loads(data or b"")
        address: dict[str, Any] = info.get("address") or {}
        host = info.get("hostname") or address.get("hostname") or address.get("ip")
        port = address.get("port") or info.get("port")
    except (ValueError, AttributeError):
        return None
    return f"{host}:{port}" if host and port else None
