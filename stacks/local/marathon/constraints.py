"""Placement constraints, decided on values: does an offer suit an app, given where it runs already.

Semantics of Constraints.scala: fields are `hostname` (or `@hostname`) or an attribute of the agent;
an agent without the attribute suits only UNLIKE.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from stacks.local.marathon.definition import App
from stacks.local.marathon.instances import Instance

_HOSTNAMES = frozenset({"hostname", "@hostname"})


def _value_of(field: str, hostname: str, attributes: dict[str, str]) -> str | None:
    return hostname if field in _HOSTNAMES else attributes.get(field)


def _field_of(instance: Instance, field: str) -> str | None:
    return _value_of(field, instance.host, instance.attributes)


def suits(
    constraint: Sequence[str],
    hostname: str,
    attributes: dict[str, str],
    placed: Iterable[Instance],
) -> bool:
    """Whether one constraint lets another instance go to this agent."""
    field, operator = constraint[0], constraint[1]
    wanted = constraint[2] if len(constraint) > 2 else ""  # noqa: PLR2004 - the third field
    seen = _value_of(field, hostname, attributes)
    if seen is None:
        return operator == "UNLIKE"
    others = [_field_of(instance, field) for instance in placed]
    match operator:
        case "UNIQUE":
            answer = seen not in others
        case "CLUSTER":
            answer = wanted in {"", seen} and all(other == seen for other in others)
        case "GROUP_BY":
            answer = _is_smallest_group(seen, others, int(wanted) if wanted.isdigit() else 0)
        case "LIKE":
            answer = bool(wanted) and re.fullmatch(wanted, seen) is not None
        case "UNLIKE":
            answer = bool(wanted) and re.fullmatch(wanted, seen) is None
        case "MAX_PER":
            answer = others.count(seen) < int(wanted)
        case "IS":
            answer = seen == wanted
        case _:
            answer = False
    return answer


def _is_smallest_group(seen: str, others: list[str | None], least: int) -> bool:
    """A group that is not there yet may begin; else only the smallest grows, once all are there."""
    groups = Counter(others)
    if seen not in groups:
        return True
    return len(groups) >= least and groups[seen] == min(groups.values())


def suits_all(
    app: App, hostname: str, attributes: dict[str, str], placed: Iterable[Instance]
) -> bool:
    """Whether all constraints of an app let another instance go to this agent."""
    there = list(placed)
    return all(suits(one, hostname, attributes, there) for one in app.constraints)


def surplus_first(app: App, ordered: list[Instance], count: int) -> list[Instance]:
    """The first of an order, taken from the largest groups of GROUP_BY constraints."""
    fields = [one[0] for one in app.constraints if one[1] == "GROUP_BY"]
    left, chosen = list(ordered), list[Instance]()
    while left and len(chosen) < count:
        candidates = left
        for field in fields:
            groups = Counter(_field_of(one, field) for one in left)
            most = max(groups.values())
            largest = [one for one in candidates if groups[_field_of(one, field)] == most]
            candidates = largest or candidates
        chosen.append(candidates[0])
        left.remove(candidates[0])
    return chosen
