"""Whether what Marathon has is what was declared.

Marathon adds a default to every field that was left out, and rewrites some that were given: a port
0 becomes a number, an empty value of a constraint goes, older spellings turn into newer ones. So
only declared fields are compared, each by what it means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

Json = Mapping[str, Any]
# 0 asks for any port, and Marathon answers with the one that it took.
_ANY_PORT = frozenset({"port", "servicePort", "ports"})
# Marathon moves these to other fields, so their absence there says nothing.
_REWRITTEN = frozenset({"uris", "storeUrls", "ports", "ipAddress", "requirePorts", "residency"})
_REWRITTEN_IN_DOCKER = frozenset({"network", "portMappings", "requirePorts", "forcePull"})


def differences(declared: Json, seen: Json, *, ignore: frozenset[str] = frozenset()) -> list[str]:
    """Declared fields that are not so in what was seen, as sorted top-level names."""
    return sorted(
        name
        for name, value in declared.items()
        if name not in ignore and not _covers(value, seen.get(name), (name,))
    )


def unchanged(
    before: Json, declared: Json, seen: Json, *, ignore: frozenset[str] = frozenset()
) -> list[str]:
    """Fields that were declared `before`, are no longer, and still are as they were: to be reset.

    One that is another by now has been reset already, by an update that was interrupted, or is
    Marathon's own.
    """
    dropped = {name: value for name, value in before.items() if name not in declared}
    return sorted(dropped.keys() - set(differences(dropped, seen)) - ignore)


def tell(seen: Json, fields: list[str]) -> dict[str, Any]:
    """Fields as they were seen, for people and for a state that is not secret: numbers as they are.
    What is a text or holds texts may be a password; of it no more is told than that it is another.
    """
    return {
        name: value if isinstance(value := seen.get(name), int | float) else _told(value)
        for name in fields
    }


def _told(value: Any) -> str:
    return "none" if _is_empty(value) else "another"


def _covers(declared: Any, seen: Any, path: tuple[str, ...]) -> bool:
    if _is_empty(declared):
        return _is_empty(seen) or bool(declared == seen)
    if seen is None and _is_rewritten(path):
        return True
    if isinstance(declared, Mapping):
        return _covers_fields(cast("Json", declared), seen, path)
    if isinstance(declared, list):
        return _covers_list(cast("list[Any]", declared), seen, path)
    return _equals(declared, seen, path[-1])


def _equals(declared: Any, seen: Any, name: str) -> bool:
    if declared == 0 and name in _ANY_PORT:
        return seen is not None
    if isinstance(declared, int | float) and isinstance(seen, int | float):
        return math.isclose(declared, seen, rel_tol=1e-9, abs_tol=1e-9)
    if name == "protocol":
        return str(declared).lower() == str(seen).lower()
    return bool(declared == seen)


def _covers_fields(declared: Json, seen: Any, path: tuple[str, ...]) -> bool:
    found: Json = cast("Json", seen) if isinstance(seen, Mapping) else {}
    return all(_covers(value, found.get(key), (*path, key)) for key, value in declared.items())


def _covers_list(declared: list[Any], seen: Any, path: tuple[str, ...]) -> bool:
    if not isinstance(seen, list):
        return False
    found = cast("list[Any]", seen)
    if path[-1] == "constraints":
        return _constraints(declared) == _constraints(found)
    if path[-1] == "dependencies":
        return {str(one) for one in declared} == {str(one) for one in found}
    return len(declared) == len(found) and all(
        _covers(one, other, path) for one, other in zip(declared, found, strict=True)
    )


def _constraints(constraints: list[Any]) -> list[Any]:
    """Without values that say nothing, in an order of their own: their order means nothing."""
    return sorted([part for part in one if part != ""] for one in constraints)


def _is_rewritten(path: tuple[str, ...]) -> bool:
    if len(path) == 1:
        return path[0] in _REWRITTEN
    return path[:2] == ("container", "docker") and path[-1] in _REWRITTEN_IN_DOCKER


def _is_empty(value: Any) -> bool:
    return value is None or value is False or (not value and isinstance(value, str | list | dict))
