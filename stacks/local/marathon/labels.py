"""Label selectors of `/v2/apps?label=`: `key`, `key==value`, `key!=value`, `key in (a, b)`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from stacks.local.errors import ApiError

Matches = Callable[[Mapping[str, str]], bool]
_TERM = re.compile(
    r"\s*(?P<key>[^\s=!,()]+)\s*"
    r"(?:(?P<operator>==|!=)\s*(?P<value>[^\s,()]+)|(?P<set>in|notin)\s*\((?P<values>[^)]*)\))?\s*"
)


def _match(term: re.Match[str]) -> Matches:
    key, operator, wanted = term["key"], term["operator"] or term["set"], term["value"]
    values = {one.strip() for one in (term["values"] or "").split(",")}
    match operator:
        case "==":
            return lambda labels: labels.get(key) == wanted
        case "!=":
            return lambda labels: key in labels and labels[key] != wanted
        case "in":
            return lambda labels: labels.get(key) in values
        case "notin":
            return lambda labels: key in labels and labels[key] not in values
        case _:
            return lambda labels: key in labels


def selector(text: str) -> Matches:
    """What a selector asks for; terms with commas between them all have to hold.

    Raises:
        ApiError: it cannot be read.
    """
    found: list[Matches] = []
    position = 0
    while position < len(text):
        term = _TERM.match(text, position)
        if term is None:
            raise ApiError.of(400, f"Can not parse label selector {text!r}")
        found.append(_match(term))
        position = term.end()
        if position < len(text):
            if text[position] != ",":
                raise ApiError.of(400, f"Can not parse label selector {text!r}")
            position += 1
    return lambda labels: all(matches(labels) for matches in found)
