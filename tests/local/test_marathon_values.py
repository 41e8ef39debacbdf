"""What Marathon decides on values: definitions, groups, plans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stacks.local.errors import ApiError
from stacks.local.marathon import groups, plan
from stacks.local.marathon.definition import (
    App,
    canonical,
    capacity,
    complete,
    is_only_scale_change,
    merge,
    needs_restart,
    versioned,
)
from stacks.local.marathon.groups import Tree
from stacks.local.marathon.plan import Kind

FIXTURES = Path(__file__).parents[1] / "fixtures" / "marathon"


def read(name: str) -> Any:
    return json.loads((FIXTURES / name).read_text())


def app(path: str = "/a", version: str = "1", **given: Any) -> App:
    return App(complete({"id": path, "cmd": "sleep 1", **given}), version)


def tree(*apps: App, version: str = "1") -> Tree:
    made = Tree(version)
    for one in apps:
        made = made.with_app(one)
    return made


# Definitions


@pytest.mark.parametrize("name", sorted(p.name for p in (FIXTURES / "apps").glob("*.json")))
def test_what_a_real_marathon_deploys_is_accepted_and_stays_the_same(name: str) -> None:
    given = read(f"apps/{name}")
    made = complete(given)
    assert complete(made) == made
    for field in ("cmd", "instances", "cpus", "mem"):
        if field in given:
            assert made[field] == given[field]


def test_an_app_is_answered_with_the_fields_of_a_real_one_in_their_order() -> None:
    """As answers of 1.5 and later that people have posted; `role` came with 1.9."""
    seen = list(App(complete({"id": "/j", "cmd": "java", "user": "u"}), "v").rendered())
    assert seen == [
        "id", "acceptedResourceRoles", "backoffFactor", "backoffSeconds", "cmd", "cpus", "disk",
        "executor", "instances", "labels", "maxLaunchDelaySeconds", "mem", "gpus", "networks",
        "portDefinitions", "requirePorts", "role", "upgradeStrategy", "user", "version",
        "killSelection", "unreachableStrategy",
    ]  # fmt: skip


def test_old_spellings_are_rewritten() -> None:
    made = complete(read("apps/pinger-bridge-app.json"))
    assert made["networks"] == [{"mode": "container/bridge"}]
    assert made["container"]["portMappings"][0]["hostPort"] == 7777
    assert "network" not in made["container"]["docker"]
    assert complete({"id": "a", "cmd": "x", "ports": [0, 80]})["portDefinitions"] == [
        {"port": 0, "protocol": "tcp"},
        {"port": 80, "protocol": "tcp"},
    ]
    assert complete({"id": "a", "cmd": "x", "uris": ["http://h/a.tgz"]})["fetch"][0]["extract"]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"id": "/a"}, "/"),
        ({"id": "/a", "cmd": "x", "args": ["y"]}, "/"),
        ({"id": "/A_b", "cmd": "x"}, "/id"),
        ({"id": "/", "cmd": "x"}, "/id"),
        ({"id": "/a", "cmd": "x", "cpus": -1}, "/cpus"),
        ({"id": "/a", "cmd": "x", "constraints": [["hostname", "NEAR"]]}, "/constraints(0)"),
        ({"id": "/a", "cmd": "x", "constraints": [["rack", "LIKE", "("]]}, "/constraints(0)"),
        ({"id": "/a", "cmd": "x", "constraints": [["rack", "MAX_PER"]]}, "/constraints(0)"),
        ({"id": "/a", "cmd": "x", "healthChecks": [{"portIndex": 3}]}, "/"),
        (
            {"id": "/a", "cmd": "x", "upgradeStrategy": {"minimumHealthCapacity": 2}},
            "/upgradeStrategy/minimumHealthCapacity",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_path(given: dict[str, Any], path: str) -> None:
    with pytest.raises(ApiError) as caught:
        complete(given)
    assert caught.value.status == 422
    assert caught.value.body["message"] == "Object is not valid"
    assert path in [detail["path"] for detail in caught.value.body["details"]]


def test_a_field_of_another_kind_is_no_valid_json() -> None:
    with pytest.raises(ApiError) as caught:
        complete({"id": "/a", "cmd": "x", "cpus": "1"})
    assert caught.value.status == 400
    assert caught.value.body["details"] == [
        {"path": "/cpus", "errors": ["error.expected.jsnumber"]}
    ]


def test_a_change_of_scale_keeps_the_version_of_the_configuration() -> None:
    old = app()
    more = versioned(old, {**old.definition, "instances": 5}, "2")
    assert (more.version, more.config_version) == ("2", "1")
    assert is_only_scale_change(old, more)
    assert not needs_restart(old, more)
    other = versioned(more, {**more.definition, "cmd": "sleep 2"}, "3")
    assert (other.config_version, other.last_scaling_at) == ("3", "3")
    assert needs_restart(more, other)
    assert versioned(other, dict(other.definition), "4") is other


def test_an_update_replaces_fields_and_a_command_replaces_arguments() -> None:
    old = app(env={"A": "1", "B": "2"})
    assert complete(merge(old, {"env": {"A": "3"}}))["env"] == {"A": "3"}
    made = complete(merge(old, {"args": ["x"]}))
    assert "cmd" not in made


def test_paths_are_resolved_against_their_group() -> None:
    assert canonical("b", "/a") == "/a/b"
    assert canonical("../b", "/a/c") == "/a/b"
    assert canonical("/b/", "/a") == "/b"


def test_capacity_is_of_the_number_of_instances() -> None:
    strategy = {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.2}
    assert capacity(app(instances=5, upgradeStrategy=strategy)) == (3, 6)
    assert capacity(app(instances=5)) == (5, 10)


# Groups


def test_a_hundred_published_apps_are_taken_and_answered() -> None:
    given = read("groups/apps_100.json")
    made = groups.update(Tree("1"), given["id"], given, "2")
    groups.check(made)
    shown = groups.render(made, given["id"])
    assert _count(shown) == len(made.apps) == 100
    again = groups.update(made, given["id"], shown, "3")
    assert again.apps == made.apps
    assert plan.make_plan("p", made, again, "3").steps == ()


def _count(group: Any) -> int:
    return len(group.get("apps", ())) + sum(_count(one) for one in group.get("groups", ()))


def test_what_a_group_update_leaves_out_is_removed_and_what_it_does_not_mention_stays() -> None:
    before = tree(app("/g/a"), app("/g/b"), app("/g/h/c"))
    after = groups.update(before, "/g", {"apps": [{"id": "b", "cmd": "sleep 1"}]}, "2")
    assert sorted(after.apps) == ["/g/b", "/g/h/c"]
    assert after.apps["/g/b"] == before.apps["/g/b"]
    assert sorted(groups.update(before, "/g", {"groups": []}, "2").apps) == ["/g/a", "/g/b"]


def test_a_group_is_scaled_as_a_whole() -> None:
    made = groups.update(tree(app("/g/a", instances=2)), "/g", {"scaleBy": 1.5}, "2")
    assert made.apps["/g/a"].instances == 3


def test_circles_and_double_names_are_refused() -> None:
    circle = tree(app("/a", dependencies=["/b"]), app("/b", dependencies=["/a"]))
    with pytest.raises(ApiError, match="not valid"):
        groups.check(circle)
    with pytest.raises(ApiError, match="same identifier"):
        groups.check(tree(app("/a"), app("/a/b")))


# Plans


def kinds(made: plan.Plan) -> list[list[tuple[str, str]]]:
    return [[(action.kind.name, action.app.id) for action in step] for step in made.steps]


def test_new_apps_are_started_and_scaled_in_the_order_of_dependencies() -> None:
    target = tree(app("/a", dependencies=["/b"]), app("/b"), app("/c", dependencies=["/a"]))
    assert kinds(plan.make_plan("p", Tree("0"), target, "1")) == [
        [("START", "/a"), ("START", "/b"), ("START", "/c")],
        [("SCALE", "/b")],
        [("SCALE", "/a")],
        [("SCALE", "/c")],
    ]


def test_dependencies_are_resolved_against_the_group_that_is_updated() -> None:
    page = {"id": "page", "cmd": "x", "dependencies": ["store"]}
    body = {"groups": [{"id": "front", "apps": [page], "dependencies": ["../db"]}]}
    made = groups.update(Tree("0"), "/shop", body, "1")
    assert made.groups["/shop/front"].dependencies == ("/shop/db",)
    assert made.apps["/shop/front/page"].dependencies == ["/shop/front/store"]
    assert app("/a/b", dependencies=["c"]).dependencies == ["/c"]


def test_dependencies_of_a_group_hold_for_its_apps() -> None:
    target = tree(app("/db/x"), app("/web/y")).with_group("/web", "1", ("/db",))
    assert target.depends_on(target.apps["/web/y"]) == {"/db/x"}
    assert kinds(plan.make_plan("p", Tree("0"), target, "1"))[1:] == [
        [("SCALE", "/db/x")],
        [("SCALE", "/web/y")],
    ]


def test_steps_stop_scale_and_restart_what_differs_alone() -> None:
    before = tree(app("/gone"), app("/more"), app("/new-command"), app("/same"))
    after = before.without_app("/gone", "2")
    more, changed = before.apps["/more"], before.apps["/new-command"]
    after = after.with_app(versioned(more, {**more.definition, "instances": 3}, "2"))
    after = after.with_app(versioned(changed, {**changed.definition, "cmd": "true"}, "2"))
    made = plan.make_plan("p", before, after, "2")
    assert kinds(made) == [
        [("STOP", "/gone")],
        [("SCALE", "/more"), ("RESTART", "/new-command")],
    ]
    assert made.affected == ["/gone", "/more", "/new-command"]


def test_taking_back_touches_only_what_the_plan_changed() -> None:
    before = tree(app("/a", instances=1), app("/gone"))
    new = versioned(before.apps["/a"], {**before.apps["/a"].definition, "instances": 4}, "2")
    target = before.without_app("/gone", "2").with_app(new).with_app(app("/new", "2"))
    made = plan.make_plan("p", before, target, "2")
    now = target.with_app(app("/meanwhile", "3"))
    back = plan.revert(made, now, "4")
    assert sorted(back.apps) == ["/a", "/gone", "/meanwhile"]
    assert back.apps["/a"].instances == 1
    assert plan.make_plan("q", now, back, "4").steps[0][0].kind is Kind.STOP
