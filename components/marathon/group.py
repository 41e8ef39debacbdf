"""A group of apps that are deployed together.

Marathon replaces a group whole: what is not named is removed. So a group that holds apps or pods
which were not declared here is refused, instead of losing them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pulumi
from pulumi.dynamic import Resource as DynamicResource

from clients.marathon.coverage import differences, tell, unchanged
from clients.marathon.definition import read_group
from clients.marathon.model import App, Group
from components.errors import AlreadyThereError, ForeignContentError
from components.marathon import deploying
from components.marathon.app import INSTANCES
from components.marathon.deploying import TIMEOUT_S, AwaitDeployments, Call, DeleteGroup, PutGroup
from components.marathon.endpoint import MarathonEndpoint, connect
from components.runtime import Json, ObjectProvider, Session

if TYPE_CHECKING:
    from clients.marathon import MarathonClient

Definition = Mapping[str, Any]


@dataclass(frozen=True)
class GroupSpec:
    """What is declared, as `read_group` returns it. `scaled_elsewhere` are ids of apps whose
    `instances` others own.
    """

    definition: Definition
    scaled_elsewhere: frozenset[str] = frozenset()
    adopt: bool = False
    timeout_s: float = TIMEOUT_S

    @property
    def id(self) -> str:
        """The group's absolute id."""
        return str(self.definition["id"])

    @property
    def apps(self) -> dict[str, Definition]:
        """Apps in it and in its groups, by id."""
        return {str(app["id"]): app for one in _groups(self.definition) for app in one["apps"]}

    @property
    def dependencies(self) -> dict[str, list[str]]:
        """What its groups, it among them, wait for, by their id."""
        return {str(one["id"]): one["dependencies"] for one in _groups(self.definition)}


def _groups(group: Definition) -> Iterator[Definition]:
    yield group
    for inner in group["groups"]:
        yield from _groups(inner)


def plan(old: GroupSpec | None, new: GroupSpec | None, observed: Group | None) -> tuple[Call, ...]:
    """Decide what to call; `observed` is the group of `new`, or of `old` where that is None.

    Raises:
        ForeignContentError: it holds what was not declared here, and would be removed.
        AlreadyThereError: its apps are there, and others, and were not declared here.
    """
    spec = new or old
    if spec is None or (new is None and observed is None):
        return ()
    there = {} if observed is None else {app.id: app for app in observed.all_apps()}
    before: dict[str, Definition] = {} if old is None else old.apps
    ours = {*spec.apps, *before}
    foreign = sorted(there.keys() - ours)
    if observed is not None:
        foreign += sorted(observed.all_pods())
    if foreign:
        msg = (
            f"expected group {spec.id} to hold only what is declared, saw {', '.join(foreign)}: "
            "this would remove it. Declare it too, or move it to another group"
        )
        raise ForeignContentError(msg)
    if new is None:
        return (DeleteGroup(spec.id),)
    different = sorted(changed(new, observed))
    if different and old is None and there and not new.adopt:
        raise AlreadyThereError(what=f"group {new.id}", seen=f"others: {', '.join(different)}")
    dropped = [
        app_id
        for app_id in new.apps.keys() & before.keys() & there.keys()
        if unchanged(before[app_id], new.apps[app_id], there[app_id].definition, ignore=INSTANCES)
    ]
    if observed is None or different or dropped or there.keys() - new.apps.keys():
        return (PutGroup(new.id, _with_instances(new, there)),)
    running = tuple(sorted({one for app in there.values() for one in app.deployments}))
    return (AwaitDeployments(running),) if running else ()


def changed(spec: GroupSpec, observed: Group | None) -> dict[str, Any]:
    """Declared apps that are missing or others, and what of them is seen; likewise groups, which
    differ in what they wait for.
    """
    found: dict[str, Any] = {}
    there = {} if observed is None else {app.id: app for app in observed.all_apps()}
    groups = {} if observed is None else {one.id: one for one in observed.all_groups()}
    for group_id, dependencies in spec.dependencies.items():
        if group_id not in groups:
            found[group_id] = "missing"
        elif set(dependencies) != set(groups[group_id].dependencies):
            found[group_id] = {"dependencies": list(groups[group_id].dependencies)}
    for app_id, app in spec.apps.items():
        if app_id not in there:
            found[app_id] = "missing"
            continue
        ignored = INSTANCES if app_id in spec.scaled_elsewhere else frozenset[str]()
        seen = there[app_id].definition
        if different := differences(app, seen, ignore=ignored):
            found[app_id] = tell(seen, different)
    return found


def _with_instances(spec: GroupSpec, there: Mapping[str, App]) -> Definition:
    """The group, with as many instances as there are where others own their number."""

    def app(definition: Definition) -> Definition:
        app_id = str(definition["id"])
        if app_id in spec.scaled_elsewhere and app_id in there:
            return {**definition, "instances": there[app_id].instances}
        return definition

    def group(definition: Definition) -> Definition:
        return {
            **definition,
            "apps": [app(one) for one in definition["apps"]],
            "groups": [group(one) for one in definition["groups"]],
        }

    return group(spec.definition)


class GroupSession(Session[GroupSpec, Group | None, Call]):
    """One group of one Marathon."""

    def __init__(self, client: MarathonClient, spec: GroupSpec) -> None:
        self._client = client
        self._spec = spec

    async def observe(self, spec: GroupSpec) -> Group | None:
        """The group as Marathon has it."""
        return await self._client.group(spec.id)

    def plan(
        self, old: GroupSpec | None, new: GroupSpec | None, observed: Group | None
    ) -> tuple[Call, ...]:
        """See `plan`."""
        return plan(old, new, observed)

    async def perform(self, call: Call) -> None:
        """Make a call and wait for its deployment."""

        async def holds() -> bool:
            group = await self.observe(self._spec)
            if isinstance(call, DeleteGroup):
                return group is None
            return not changed(self._spec, group)

        await deploying.perform(self._client, call, timeout_s=self._spec.timeout_s, holds=holds)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()


class GroupProvider(ObjectProvider[GroupSpec, Group | None, Call]):
    """Carries groups to Pulumi."""

    def read_spec(self, spec: Json) -> GroupSpec:
        """Parse."""
        return GroupSpec(
            read_group(spec["definition"]),
            frozenset(str(one) for one in cast("list[Any]", spec["scaled_elsewhere"])),
            adopt=bool(spec["adopt"]),
            timeout_s=float(spec["timeout_s"]),
        )

    def session(self, endpoint: Json, spec: Json) -> GroupSession:
        """Connect."""
        return GroupSession(connect(endpoint), self.read_spec(spec))

    def identity(self, spec: Json) -> str:
        """The group."""
        return str(read_group(spec["definition"])["id"])

    def expected(self, spec: GroupSpec) -> Json:
        """No declared app is missing or another."""
        del spec
        return {"different": {}}

    def seen(self, spec: GroupSpec, observed: Group | None) -> Json | None:
        """Apps that are missing, others, or not declared; None when the group is gone."""
        if observed is None:
            return None
        there = {app.id for app in observed.all_apps()}
        foreign = dict.fromkeys(sorted(there - spec.apps.keys()), "not declared")
        return {"different": {**changed(spec, observed), **foreign}}


@dataclass(frozen=True)
class GroupArgs:
    """`definition` in Marathon's own field names, with all apps and groups in it."""

    definition: Definition
    scaled_elsewhere: tuple[str, ...] = ()
    adopt: bool = False
    timeout_s: float = TIMEOUT_S

    @property
    def properties(self) -> Json:
        """As plain values of a resource."""
        return {
            "definition": dict(self.definition),
            "scaled_elsewhere": list(self.scaled_elsewhere),
            "adopt": self.adopt,
            "timeout_s": float(self.timeout_s),
        }


class MarathonGroup(DynamicResource, module="marathon", name="Group"):
    """A group of apps."""

    def __init__(
        self,
        name: str,
        args: GroupArgs,
        endpoint: MarathonEndpoint,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {"endpoint": endpoint.properties, "spec": args.properties}
        super().__init__(GroupProvider(), name, properties, opts)
