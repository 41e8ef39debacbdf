"""The tree of groups and apps: immutable, changed by making another one.

Apps are kept by path and groups beside them, so that most questions are lookups. A group is there
when somebody made it or when something lies below it; its dependencies hold for all that is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from stacks.local.errors import ApiError
from stacks.local.marathon.definition import (
    App,
    canonical,
    complete,
    invalid,
    merge,
    parent,
    path_problem,
    versioned,
)
from stacks.local.mesos.values import Json

ROOT = "/"


@dataclass(frozen=True)
class Group:
    """A group's own properties."""

    version: str
    dependencies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tree:
    """All groups and apps."""

    version: str
    apps: Mapping[str, App] = field(default_factory=dict[str, App])
    groups: Mapping[str, Group] = field(default_factory=dict[str, Group])

    def has_group(self, path: str) -> bool:
        """Whether a group is there."""
        return path == ROOT or path in self.groups

    def below(self, path: str) -> list[App]:
        """Apps of a group and of its groups."""
        return [app for name, app in self.apps.items() if is_below(name, path)]

    def with_app(self, app: App) -> Tree:
        """Add or replace an app; its groups come with it."""
        made = replace(self, version=app.version, apps={**self.apps, app.id: app})
        return made.with_group(parent(app.id), app.version)

    def with_apps(self, apps: Mapping[str, App]) -> Tree:
        """Replace apps that are there."""
        return replace(self, apps={**self.apps, **apps})

    def with_group(
        self, path: str, version: str, dependencies: tuple[str, ...] | None = None
    ) -> Tree:
        """Add a group and those above it, or change its dependencies."""
        groups = dict(self.groups)
        if dependencies is not None:
            groups[path] = Group(version, dependencies)
        while path != ROOT:
            groups.setdefault(path, Group(version))
            path = parent(path)
        return replace(self, version=version, groups=groups)

    def without_app(self, path: str, version: str) -> Tree:
        """Take an app out."""
        apps = {name: app for name, app in self.apps.items() if name != path}
        return replace(self, version=version, apps=apps)

    def without_group(self, path: str, version: str) -> Tree:
        """Take a group out with all that is in it."""
        return replace(
            self,
            version=version,
            apps={n: a for n, a in self.apps.items() if not is_below(n, path)},
            groups={n: g for n, g in self.groups.items() if not is_below(n, path) and n != path},
        )

    def depends_on(self, app: App) -> set[str]:
        """Apps that have to run before this one: its own dependencies and those of its groups."""
        named = list(app.dependencies)
        path = parent(app.id)
        while True:
            group = self.groups.get(path)
            named += group.dependencies if group else ()
            if path == ROOT:
                break
            path = parent(path)
        found: set[str] = set()
        for name in named:
            found |= {name} if name in self.apps else {one.id for one in self.below(name)}
        return found - {app.id}


def is_below(path: str, group: str) -> bool:
    """Whether a path lies below a group."""
    return group == ROOT or path.startswith(f"{group}/")


def find_cycle(tree: Tree) -> bool:
    """Whether apps depend on each other in a circle."""
    state: dict[str, bool] = {}

    def visit(name: str) -> bool:
        if name in state:
            return state[name]
        state[name] = True
        cyclic = any(visit(other) for other in sorted(tree.depends_on(tree.apps[name])))
        state[name] = cyclic
        return cyclic

    return any(visit(name) for name in sorted(tree.apps))


def render(tree: Tree, path: str = ROOT) -> Json:
    """A group as Marathon answers it, with all below it."""
    group = tree.groups.get(path)
    inner = sorted(name for name in tree.groups if name != ROOT and parent(name) == path)
    return {
        "id": path,
        "dependencies": list(group.dependencies) if group else [],
        "version": tree.version if path == ROOT or group is None else group.version,
        "apps": [app.rendered() for name, app in sorted(tree.apps.items()) if parent(name) == path],
        "groups": [render(tree, name) for name in inner],
        "pods": [],
        "enforceRole": False,
    }


def update(tree: Tree, path: str, body: Json, version: str) -> Tree:
    """A group update over what is there: `apps` and `groups`, where given, replace.

    Raises:
        ApiError: an app or a path that cannot be.
    """
    problem = path_problem(path)
    if problem is not None:
        raise invalid([("/id", problem)])
    if body.get("scaleBy") is not None:
        return _scale(tree, path, float(body["scaleBy"]), version)
    dependencies: tuple[str, ...] | None = None
    if body.get("dependencies") is not None:
        dependencies = tuple(canonical(str(d), path) for d in body["dependencies"])
    made = tree.with_group(path, version, dependencies)
    if body.get("apps") is not None:
        made = _replace_apps(made, tree, path, list(body["apps"]), version)
    if body.get("groups") is not None:
        wanted = {_id_of(one, path): one for one in body["groups"]}
        for name in [n for n in made.groups if n != ROOT and parent(n) == path]:
            if name not in wanted:
                made = made.without_group(name, version)
        for name, one in wanted.items():
            made = update(made, name, one, version)
    return made


def _id_of(body: Json, base: str) -> str:
    if not body.get("id"):
        raise invalid([("/id", "must not be empty")])
    return canonical(str(body["id"]), base)


def _replace_apps(made: Tree, tree: Tree, path: str, bodies: list[Any], version: str) -> Tree:
    wanted: dict[str, Json] = {}
    for body in bodies:
        name = _id_of(body, path)
        if parent(name) != path:
            raise invalid(
                [("/apps", f"Identifier {name} is not child of {path}. Hint: use relative paths.")]
            )
        wanted[name] = {**body, "id": name}
    for name in [n for n in made.apps if parent(n) == path]:
        if name not in wanted:
            made = made.without_app(name, version)
    for name, body in wanted.items():
        made = made.with_app(versioned(tree.apps.get(name), complete(body, path), version))
    return made


def _scale(tree: Tree, path: str, factor: float, version: str) -> Tree:
    scaled = {
        app.id: versioned(
            app, {**app.definition, "instances": round(app.instances * factor)}, version
        )
        for app in tree.below(path)
    }
    return replace(tree.with_apps(scaled), version=version)


def check(tree: Tree) -> None:
    """Refuse a tree that cannot be deployed.

    Raises:
        ApiError: a circle of dependencies, or a path that is both an app and a group.
    """
    if find_cycle(tree):
        raise invalid([("/", "Dependency graph has cyclic dependencies.")])
    both = sorted(set(tree.apps) & set(tree.groups))
    if both:
        raise ApiError.of(409, f"Groups and Applications may not have the same identifier: {both}")


def updated_app(tree: Tree, path: str, body: Json, version: str, *, partial: bool) -> App:
    """An app update over what is there; not partial means that the body is the whole definition.

    Raises:
        ApiError: see `complete`.
    """
    old = tree.apps.get(path)
    whole = merge(old if partial else None, {**body, "id": path})
    return versioned(old, complete(whole), version)
