"""Laws of the plans for apps and groups: they converge, do it once, and leave others alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.marathon.coverage import differences
from clients.marathon.model import App, Group
from components.errors import AlreadyThereError, ForeignContentError
from components.marathon import app as apps
from components.marathon import group as groups
from components.marathon.app import AppSpec
from components.marathon.deploying import (
    AwaitDeployments,
    Call,
    ChangeApp,
    CreateApp,
    DeleteApp,
    DeleteGroup,
    PutGroup,
    ReplaceApp,
)
from components.marathon.group import GroupSpec
from tests.components.worlds import app_of, group_of, settle

law = settings(deadline=None, max_examples=150)
FIELDS: Any = {
    "instances": st.integers(0, 3),
    "cpus": st.sampled_from([0.1, 1, 2.0]),
    "cmd": st.sampled_from(["sleep 1", "sleep 2"]),
    "labels": st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy")),
}


def definitions(app_id: str) -> Any:
    return st.fixed_dictionaries({"id": st.just(app_id)}, optional=FIELDS)


APP_SPECS: Any = st.builds(AppSpec, definitions("/a"), st.booleans(), st.just(value=True))
DEPLOYMENTS: Any = st.sampled_from([(), ("d1",)])


def app_with(definition: dict[str, Any], deployments: tuple[str, ...]) -> App:
    return app_of(definition, deployments=deployments)


APPS: Any = st.builds(app_with, definitions("/a"), DEPLOYMENTS)


def change_app(world: App | None, call: Call) -> App | None:
    match call:
        case CreateApp(definition):
            assert world is None
            return app_of(dict(definition))
        case ChangeApp(_, fields):
            assert world is not None
            return app_of({**world.definition, **fields})
        case ReplaceApp(_, definition):
            return app_of(dict(definition))
        case DeleteApp():
            return None
        case AwaitDeployments():
            assert world is not None
            return app_of(dict(world.definition))
        case _:
            raise AssertionError(call)


@law
@given(st.none() | APP_SPECS, APP_SPECS, st.none() | APPS)
def test_an_app_converges_to_what_is_declared(
    old: AppSpec | None, new: AppSpec, world: App | None
) -> None:
    after = settle(apps.plan, change_app, old, new, world)
    assert after is not None
    assert differences(new.definition, after.definition, ignore=new.ignored) == []
    assert apps.plan(new, new, after) == ()
    if new.is_scaled_elsewhere and world is not None:
        assert after.instances == world.instances


@law
@given(APP_SPECS, st.none() | APPS)
def test_a_deleted_app_is_gone_and_deleted_once(old: AppSpec, world: App | None) -> None:
    assert settle(apps.plan, change_app, old, None, world) is None
    assert apps.plan(old, None, None) == ()


def test_only_changed_fields_are_sent() -> None:
    old = AppSpec({"id": "/a", "cmd": "x", "cpus": 1})
    there = app_of({"id": "/a", "cmd": "x", "cpus": 1, "labels": {"by": "hand"}})
    new = AppSpec({"id": "/a", "cmd": "x", "cpus": 2})
    assert apps.plan(old, new, there) == (ChangeApp("/a", {"cpus": 2}),)


def test_a_field_that_is_no_longer_declared_is_reset() -> None:
    old = AppSpec({"id": "/a", "cmd": "x", "labels": {"a": "b"}}, is_scaled_elsewhere=True)
    new = AppSpec({"id": "/a", "cmd": "x"}, is_scaled_elsewhere=True)
    there = app_of({**old.definition, "instances": 7})
    wanted = {"id": "/a", "cmd": "x", "instances": 7}
    assert apps.plan(old, new, there) == (ReplaceApp("/a", wanted),)


def test_a_reset_that_an_interrupted_update_has_begun_is_waited_for() -> None:
    labels = {"labels": {"a": "b"}}
    old, new = AppSpec({"id": "/a", "cmd": "x", **labels}), AppSpec({"id": "/a", "cmd": "x"})
    under_way = app_of(dict(new.definition), deployments=("d1",))
    assert apps.plan(old, new, under_way) == (AwaitDeployments(("d1",)),)

    before = GroupSpec(group({"id": "/g/a", "cmd": "x", **labels}))
    after = GroupSpec(group({"id": "/g/a", "cmd": "x"}))
    still = group_of("/g", [app_of({"id": "/g/a", "cmd": "x", **labels})])
    assert groups.plan(before, after, still) == (PutGroup("/g", after.definition),)
    begun = group_of("/g", [app_of({"id": "/g/a", "cmd": "x"}, deployments=("d1",))])
    assert groups.plan(before, after, begun) == (AwaitDeployments(("d1",)),)


def test_what_a_group_waits_for_is_changed_and_seen() -> None:
    new = GroupSpec(group({"id": "/g/a", "cmd": "x"}, dependencies=["/db"]))
    there = group_of("/g", [app_of({"id": "/g/a", "cmd": "x"})], ["/cache"])
    assert groups.changed(new, there) == {"/g": {"dependencies": ["/cache"]}}
    assert groups.plan(new, new, there) == (PutGroup("/g", new.definition),)


def test_an_app_of_somebody_else_is_not_taken_over_unasked() -> None:
    new = AppSpec({"id": "/a", "cmd": "x"})
    with pytest.raises(AlreadyThereError, match="differs in cmd"):
        apps.plan(None, new, app_of({"id": "/a", "cmd": "y"}))
    # What was created before a crash is ours again, and its deployment is waited for.
    deploying = app_of({"id": "/a", "cmd": "x"}, deployments=("d1",))
    assert apps.plan(None, new, deploying) == (AwaitDeployments(("d1",)),)


def group(*members: Mapping[str, Any], dependencies: Sequence[str] = ()) -> dict[str, Any]:
    apps = [dict(one) for one in members]
    return {"id": "/g", "apps": apps, "groups": [], "dependencies": list(dependencies)}


def spec_of(found: list[dict[str, Any]], after: list[str], scaled: frozenset[str]) -> GroupSpec:
    return GroupSpec(group(*found, dependencies=after), scaled, adopt=True)


def there_with(found: list[dict[str, Any]], after: list[str]) -> Group:
    return group_of("/g", [app_of(one) for one in found], after)


MEMBERS: Any = st.lists(
    st.sampled_from(["/g/a", "/g/b"]).flatmap(definitions), unique_by=lambda d: d["id"]
)
DEPENDENCIES: Any = st.lists(st.sampled_from(["/db", "/cache"]), unique=True)
SCALED: Any = st.sampled_from([frozenset(), frozenset(["/g/a"])])
GROUP_SPECS: Any = st.builds(spec_of, MEMBERS, DEPENDENCIES, SCALED)
GROUPS: Any = st.builds(there_with, MEMBERS, DEPENDENCIES)


def change_group(world: Group | None, call: Call) -> Group | None:
    match call:
        case PutGroup(group_id, definition):
            apps = [app_of(dict(one)) for one in definition["apps"]]
            return group_of(group_id, apps, definition["dependencies"])
        case DeleteGroup():
            return None
        case _:
            raise AssertionError(call)


@law
@given(GROUP_SPECS, GROUP_SPECS, st.none() | GROUPS)
def test_a_group_converges_or_refuses_to_lose_what_is_not_ours(
    old: GroupSpec, new: GroupSpec, world: Group | None
) -> None:
    there = {app.id for app in world.apps} if world is not None else set[str]()
    if there - old.apps.keys() - new.apps.keys():
        with pytest.raises(ForeignContentError, match="would remove it"):
            groups.plan(old, new, world)
        return
    after = settle(groups.plan, change_group, old, new, world)
    assert after is not None
    assert {app.id for app in after.all_apps()} == new.apps.keys()
    assert groups.changed(new, after) == {}
    assert groups.plan(new, new, after) == ()
    counts = {} if world is None else {app.id: app.instances for app in world.apps}
    for app in after.apps:
        if app.id in new.scaled_elsewhere and app.id in counts:
            assert app.instances == counts[app.id]


def test_a_group_is_not_removed_with_what_is_not_ours() -> None:
    spec = GroupSpec(group({"id": "/g/a", "cmd": "x"}))
    ours, theirs = app_of({"id": "/g/a", "cmd": "x"}), app_of({"id": "/g/z", "cmd": "x"})
    assert groups.plan(spec, None, group_of("/g", [ours])) == (DeleteGroup("/g"),)
    with pytest.raises(ForeignContentError, match="/g/z"):
        groups.plan(spec, None, group_of("/g", [ours, theirs]))
    with_pod = Group("/g", (ours,), (), (), pods=("/g/p",))
    with pytest.raises(ForeignContentError, match="/g/p"):
        groups.plan(spec, None, with_pod)
    with pytest.raises(AlreadyThereError):
        groups.plan(None, spec, group_of("/g", [app_of({"id": "/g/a", "cmd": "y"})]))
