"""The document that a master group replicates, and its changes as pure functions.

It holds what Mesos' registry.proto holds and what survives a change of leader: admitted,
unreachable and gone agents with their drain and deactivation marks, quota, weights, the maintenance
schedule with machines that are down, and minimum capabilities. Frameworks, tasks and offers are not
in it: they come back when agents and frameworks register again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

from stacks.local.mesos.values import Json

Document = dict[str, Any]
Change = Callable[[Document], Document]


def section(document: Document, name: str) -> Json:
    """A mapping of the document; empty where nothing was written yet."""
    return cast("Json", document.get(name) or {})


def _changed(document: Document, name: str, value: Any) -> Document:
    return {**document, name: value}


def _with(name: str, key: str, value: Any) -> Change:
    def change(document: Document) -> Document:
        return _changed(document, name, {**section(document, name), key: value})

    return change


def _without(name: str, key: str) -> Change:
    def change(document: Document) -> Document:
        rest = {k: v for k, v in section(document, name).items() if k != key}
        return _changed(document, name, rest) if key in section(document, name) else document

    return change


def chain(*changes: Change) -> Change:
    """Several changes as one."""

    def change(document: Document) -> Document:
        for one in changes:
            document = one(document)
        return document

    return change


def admit(agent_id: str, info: Json) -> Change:
    """Admit an agent, or take it back after it was unreachable."""
    return chain(_with("agents", agent_id, copy.deepcopy(info)), _without("unreachable", agent_id))


def mark_unreachable(agent_id: str, at: float) -> Change:
    """Move an agent from the admitted to the unreachable ones."""
    return chain(_without("agents", agent_id), _with("unreachable", agent_id, at))


def mark_gone(agent_id: str, at: float) -> Change:
    """An agent that never comes back."""
    return chain(
        _without("agents", agent_id),
        _without("unreachable", agent_id),
        _without("marks", agent_id),
        _with("gone", agent_id, at),
    )


def remove(agent_id: str) -> Change:
    """Forget an agent that left in order."""
    return chain(_without("agents", agent_id), _without("marks", agent_id))


def mark(agent_id: str, marks: Json | None) -> Change:
    """Set or clear deactivation and drain state; a drain needs masters that know of it."""
    if marks is None:
        return _without("marks", agent_id)
    change = _with("marks", agent_id, marks)
    if "drain_info" in marks:
        return chain(change, require_capability("AGENT_DRAINING"))
    return change


def require_capability(name: str) -> Change:
    """Older masters refuse to start on a registry that needs what they do not know."""

    def change(document: Document) -> Document:
        needed = cast("list[str]", document.get("minimum_capabilities") or [])
        if name in needed:
            return document
        return _changed(document, "minimum_capabilities", [*needed, name])

    return change


def set_quota(configs: list[Json]) -> Change:
    """Set limits and guarantees by role; an empty one stays listed, as in Mesos."""

    def change(document: Document) -> Document:
        quota = dict(section(document, "quota"))
        for config in configs:
            quota[str(config["role"])] = config
        return _changed(document, "quota", quota)

    return chain(change, require_capability("QUOTA_V2"))


def set_weights(weights: dict[str, float]) -> Change:
    """Set weights by role."""

    def change(document: Document) -> Document:
        return _changed(document, "weights", {**section(document, "weights"), **weights})

    return change


def set_schedule(schedule: Json) -> Change:
    """Replace the maintenance schedule."""

    def change(document: Document) -> Document:
        return _changed(document, "schedule", schedule)

    return change


def set_down(machines: list[Json]) -> Change:
    """Replace the list of machines that are down."""

    def change(document: Document) -> Document:
        return _changed(document, "machines_down", machines)

    return change
