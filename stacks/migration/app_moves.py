"""Which step takes an app of Marathon off agents that go, decided from what is seen now.

An app moves by growing: so many instances more are started where offers still come from, and once
all of them are healthy as many are killed on the agents that go, the app's size going down with
them. At no moment has it fewer healthy instances than it wants. Each decision is made anew from
size, tasks and deployments, so that a runner that was killed between two of them is followed by one
that goes on.

Pure data and pure functions: no input or output.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_WITH_ONE_PLACE = frozenset({"UNIQUE", "MAX_PER"})
_TO_A_HOST = frozenset({"CLUSTER", "IS", "LIKE"})
_HOST = frozenset({"hostname", "@hostname"})


@dataclass(frozen=True)
class AppSeen:
    """An app at one moment. `leaving` are its live tasks on the agents that go, without those that
    were asked to end there, `ending`; `size` is how many instances it should have in the end."""

    size: int
    instances: int
    healthy: int
    leaving: tuple[str, ...]
    deployments: tuple[str, ...] = ()
    ending: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grow:
    """Have more instances, on other agents: those that go take no tasks any more."""

    instances: int


@dataclass(frozen=True)
class Retire:
    """Kill tasks, the app's size going down with them."""

    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Shrink:
    """Give up instances that are left over."""

    instances: int


@dataclass(frozen=True)
class Await:
    """Something is under way."""

    what: str


@dataclass(frozen=True)
class Moved:
    """Nothing is left there, and the app has its size."""


Step = Grow | Retire | Shrink | Await | Moved


def next_step(app: AppSeen, *, batch: int) -> Step:
    """What to do next; `batch` is how many instances move at the same time, at least one."""
    # Whoever made it smaller meanwhile wants it so.
    size = min(app.size, app.instances)
    surplus = app.instances - size
    if app.deployments:
        return Await(f"{app.healthy} of {app.instances} instances healthy, a deployment runs")
    if not app.leaving and not app.ending:
        return Shrink(size) if surplus else Moved()
    if app.leaving and not surplus:
        return Grow(app.instances + min(batch, len(app.leaving)))
    if app.ending:
        # Something takes their place already; until they have ended they may count as healthy, too.
        return Await(f"instances that end: {len(app.ending)}")
    if app.healthy < app.instances:
        return Await(f"{app.healthy} of {app.instances} instances healthy")
    return Retire(app.leaving[:surplus])


def why_ask(definition: Mapping[str, Any]) -> str | None:
    """Why an app is not moved without its owner's word; None: it may be."""
    reasons: list[str] = []
    container: Mapping[str, Any] = definition.get("container") or {}
    volumes: Sequence[Mapping[str, Any]] = container.get("volumes") or ()
    if any(volume.get("persistent") or volume.get("hostPath") for volume in volumes):
        reasons.append("keeps data on its agents")
    if definition.get("instances") == 1:
        reasons.append("has one instance, of which there will be two for a moment")
    constraints: Collection[Sequence[str]] = definition.get("constraints") or ()
    for constraint in constraints:
        if constraint[1] in _WITH_ONE_PLACE:
            reasons.append(f"wants {' '.join(constraint)}, so agents may have no second place")
        elif constraint[0] in _HOST and constraint[1] in _TO_A_HOST:
            reasons.append(f"is bound to hosts by {' '.join(constraint)}")
    return " and ".join(reasons) or None
