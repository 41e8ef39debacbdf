"""What a deployment does, step by step, and how it is taken back: pure values.

Steps follow DeploymentPlan.scala: stop what is no longer there, start what is new with no instance,
then scale and restart in the order of dependencies, all of one depth together. Taking back follows
DeploymentPlanReverter.scala: only what the plan changed, whatever else has changed since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from stacks.local.marathon.definition import (
    App,
    is_only_scale_change,
    is_same,
    needs_restart,
    versioned,
)
from stacks.local.marathon.groups import ROOT, Group, Tree
from stacks.local.mesos.values import Json


class Kind(StrEnum):
    """What an action does to its app, in Marathon's words."""

    START = "StartApplication"
    SCALE = "ScaleApplication"
    RESTART = "RestartApplication"
    STOP = "StopApplication"


@dataclass(frozen=True)
class Action:
    """One action; all of a step run side by side."""

    kind: Kind
    app: App

    def rendered(self) -> Json:
        """As Marathon answers it."""
        return {"action": self.kind.value, "app": self.app.id}


Step = tuple[Action, ...]


@dataclass(frozen=True)
class Plan:
    """A deployment."""

    id: str
    original: Tree
    target: Tree
    steps: tuple[Step, ...]
    version: str

    @property
    def affected(self) -> list[str]:
        """Apps that it locks."""
        return sorted({action.app.id for step in self.steps for action in step})

    def rendered(self, *, light: bool = False) -> Json:
        """As events carry it."""
        from stacks.local.marathon.groups import render

        trees: Json = (
            {} if light else {"original": render(self.original), "target": render(self.target)}
        )
        return {
            "id": self.id,
            **trees,
            "steps": [{"actions": [action.rendered() for action in step]} for step in self.steps],
            "version": self.version,
        }


def make_plan(plan_id: str, original: Tree, target: Tree, version: str) -> Plan:
    """Steps from one tree to another; none where nothing differs."""
    gone = [app for name, app in sorted(original.apps.items()) if name not in target.apps]
    new = [app for name, app in sorted(target.apps.items()) if name not in original.apps]
    steps: list[Step] = [
        tuple(Action(Kind.STOP, app) for app in gone),
        tuple(Action(Kind.START, app) for app in new),
    ]
    changed = [
        app
        for name, app in sorted(target.apps.items())
        if name not in original.apps or not is_same(original.apps[name], app)
        or original.apps[name].config_version != app.config_version
    ]  # fmt: skip
    depths = _depths(target)
    for depth in sorted({depths[app.id] for app in changed}):
        layer = [app for app in changed if depths[app.id] == depth]
        steps.append(tuple(a for app in layer if (a := _action(original.apps.get(app.id), app))))
    return Plan(plan_id, original, target, tuple(step for step in steps if step), version)


def _action(old: App | None, new: App) -> Action | None:
    if old is None or is_only_scale_change(old, new):
        return Action(Kind.SCALE, new)
    if needs_restart(old, new):
        return Action(Kind.RESTART, new)
    if old.instances != new.instances:
        return Action(Kind.SCALE, new)
    return None


def _depths(tree: Tree) -> dict[str, int]:
    """Length of the longest chain of dependencies below each app; the tree has no circles."""
    found: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in found:
            below = tree.depends_on(tree.apps[name])
            found[name] = 1 + max((depth(other) for other in below), default=0)
        return found[name]

    for name in tree.apps:
        depth(name)
    return found


def revert(plan: Plan, now: Tree, version: str) -> Tree:
    """Take back what a plan changed."""
    made = now
    for name in sorted({*plan.original.apps, *plan.target.apps}):
        old, new = plan.original.apps.get(name), plan.target.apps.get(name)
        if old == new:
            continue
        if old is None:
            made = made.without_app(name, version)
        else:
            # The old definition is a new version: instances that still run it are replaced, too.
            made = made.with_app(versioned(now.apps.get(name), old.definition, version))
    return replace(made, version=version, groups=_reverted_groups(plan, made))


def _reverted_groups(plan: Plan, made: Tree) -> Mapping[str, Group]:
    groups = dict(made.groups)
    for name in sorted({*plan.original.groups, *plan.target.groups}, reverse=True):
        old, new = plan.original.groups.get(name), plan.target.groups.get(name)
        if old is not None and new is None:
            groups[name] = old
        elif old is None and new is not None:
            used = [*made.apps, *(n for n in groups if n not in {name, ROOT})]
            if not any(other.startswith(f"{name}/") for other in used):
                groups.pop(name, None)
        elif old is not None and new is not None and old.dependencies != new.dependencies:
            groups[name] = replace(new, dependencies=old.dependencies)
    return groups
