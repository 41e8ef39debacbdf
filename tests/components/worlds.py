"""What masters and Marathon remember, as values that plans' calls change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from clients.marathon.model import App, Group

_W = TypeVar("_W")
ROUNDS_MAX = 5


def settle(
    plan: Callable[[Any, Any, _W], Sequence[Any]],
    apply: Callable[[_W, Any], _W],
    old: Any,
    new: Any,
    world: _W,
) -> _W:
    """Plan and call until nothing is left to do, as components.runtime does."""
    calls: Sequence[Any] = ()
    for _ in range(ROUNDS_MAX):
        calls = plan(old, new, world)
        if not calls:
            return world
        for call in calls:
            world = apply(world, call)
        old = new if new is not None else old
    message = f"not settled: {calls}"
    raise AssertionError(message)


def app_of(definition: dict[str, Any], **fields: Any) -> App:
    """An app as Marathon has it: its defaults beside what was declared."""
    full: dict[str, Any] = {
        "instances": 1,
        "cpus": 0.1,
        "mem": 128,
        "disk": 0,
        "labels": {},
        "env": {},
        "constraints": [],
        "versionInfo": {},
        **definition,
    }
    values: dict[str, Any] = {
        "id": full["id"],
        "definition": full,
        "instances": full["instances"],
        "version": "v1",
        "staged": 0,
        "running": 0,
        "healthy": 0,
        "unhealthy": 0,
        "deployments": (),
        **fields,
    }
    return App(**values)


def group_of(group_id: str, apps: Sequence[App], dependencies: Sequence[str] = ()) -> Group:
    """A flat group."""
    return Group(group_id, tuple(apps), (), tuple(dependencies))
