"""What Marathon decides on values: definitions, groups, plans, placement, ports, the queue."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stacks.local.errors import ApiError
from stacks.local.marathon import groups, matching, plan
from stacks.local.marathon.constraints import suits
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
from stacks.local.marathon.instances import Instance, to_kill
from stacks.local.marathon.labels import selector
from stacks.local.marathon.plan import Kind
from stacks.local.marathon.queue import LaunchQueue
from stacks.local.marathon.service_ports import assign, service_ports
from stacks.local.marathon.settings import MarathonSettings
from stacks.local.marathon.store import bucket

FIXTURES = Path(__file__).parents[1] / "fixtures" / "marathon"
SETTINGS = MarathonSettings(listen="h:1", master="zk://h:1/m", zk="zk://h:1/s")


def read(name: str) -> Any:
    return json.loads((FIXTURES / name).read_text())


def app(path: str = "/a", version: str = "1", **given: Any) -> App:
    return App(complete({"id": path, "cmd": "sleep 1", **given}), version)


def tree(*apps: App, version: str = "1") -> Tree:
    made = Tree(version)
    for one in apps:
        made = made.with_app(one)
    return made


def instance(name: str, host: str = "h", **given: Any) -> Instance:
    made = Instance(
        id=name, app_id="/a", version="1", agent_id="S0", host=host, role="*", ports=[],
        attributes={}, staged_at="2026", state="TASK_RUNNING",
    )  # fmt: skip
    return replace(made, **given)


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


# Placement


@pytest.mark.parametrize(
    ("constraint", "others", "suited"),
    [
        (["hostname", "UNIQUE"], ["h1"], False),
        (["hostname", "UNIQUE"], ["h2"], True),
        (["hostname", "CLUSTER"], ["h1", "h1"], True),
        (["hostname", "CLUSTER"], ["h2"], False),
        (["rack", "CLUSTER", "r2"], [], False),
        (["rack", "CLUSTER", "r1"], [], True),
        (["hostname", "GROUP_BY"], ["h1", "h2", "h2"], True),
        (["hostname", "GROUP_BY"], ["h1", "h1", "h2"], False),
        (["hostname", "GROUP_BY", "3"], ["h1", "h2"], False),
        (["rack", "LIKE", "r[12]"], [], True),
        (["rack", "LIKE", "r"], [], False),
        (["rack", "UNLIKE", "r[12]"], [], False),
        (["zone", "UNLIKE", "z1"], [], True),
        (["zone", "LIKE", "z1"], [], False),
        (["hostname", "MAX_PER", "2"], ["h1"], True),
        (["hostname", "MAX_PER", "2"], ["h1", "h1"], False),
        (["rack", "IS", "r1"], [], True),
        (["rack", "IS", "r"], [], False),
    ],
)
def test_constraints_choose_agents(constraint: list[str], others: list[str], suited: bool) -> None:
    placed = [instance(str(i), host) for i, host in enumerate(others)]
    assert suits(constraint, "h1", {"rack": "r1"}, placed) is suited


def offer(**resources: float) -> Any:
    scalars = [
        {"name": name, "type": "SCALAR", "scalar": {"value": value}}
        for name, value in resources.items()
    ]
    held = {
        "name": "ports",
        "type": "RANGES",
        "ranges": {"range": [{"begin": 31000, "end": 31002}]},
    }
    return {
        "id": {"value": "O"}, "agent_id": {"value": "S0"}, "hostname": "h1",
        "resources": [*scalars, held], "allocation_info": {"role": "*"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, None),
        ({"cpus": 3}, "InsufficientCpus"),
        ({"mem": 3000}, "InsufficientMemory"),
        ({"disk": 3000}, "InsufficientDisk"),
        ({"gpus": 1}, "InsufficientGpus"),
        ({"role": "dev"}, "UnfulfilledRole"),
        ({"constraints": [["hostname", "LIKE", "x"]]}, "UnfulfilledConstraint"),
        ({"ports": [0, 0, 0, 0]}, "InsufficientPorts"),
        ({"ports": [80], "requirePorts": True}, "InsufficientPorts"),
        ({"ports": [31001], "requirePorts": True}, None),
    ],
)
def test_an_offer_is_refused_for_the_first_reason_of_the_funnel(
    given: dict[str, Any], reason: str | None
) -> None:
    one = offer(cpus=2, mem=1024, disk=100)
    left = matching.Left.of(one)
    assert matching.reason_against(app(**given), one, left, []) == reason


def test_ports_are_taken_from_the_offer_and_told_to_the_task() -> None:
    one, definition = offer(cpus=2, mem=1024), app(ports=[0, 0])
    chosen = matching.host_ports(definition, matching.Left.of(one).ports)
    assert chosen == [31000, 31001]
    info = matching.task_info(definition, instance("a.instance-1", ports=chosen), one)
    variables = {v["name"]: v["value"] for v in info["command"]["environment"]["variables"]}
    assert (variables["PORT0"], variables["PORT1"], variables["PORTS"]) == (
        "31000", "31001", "31000,31001",
    )  # fmt: skip
    assert info["resources"][-1]["ranges"]["range"] == [{"begin": 31000, "end": 31001}]


def test_who_is_killed_follows_the_selection_and_keeps_groups_even() -> None:
    old, young = instance("old", staged_at="1"), instance("young", staged_at="2")
    assert to_kill(app(), [old, young], 1) == [young]
    assert to_kill(app(killSelection="OLDEST_FIRST"), [old, young], 1) == [old]
    waiting = replace(old, state="TASK_STAGING")
    assert to_kill(app(), [waiting, young], 1) == [waiting]
    spread = [instance("1", "h1"), instance("2", "h2"), instance("3", "h1")]
    (chosen,) = to_kill(app(constraints=[["hostname", "GROUP_BY"]]), spread, 1)
    assert chosen.host == "h1"


# Service ports, queue, labels, buckets


def test_service_ports_are_unique_and_kept() -> None:
    target = tree(app("/a", ports=[0, 10_001]), app("/b"))
    given = assign(Tree("0"), target, SETTINGS)
    assert service_ports(given.apps["/a"]) == [10_000, 10_001]
    assert service_ports(given.apps["/b"]) == [10_002]
    again = given.with_app(
        versioned(given.apps["/b"], complete({"id": "/b", "cmd": "sleep 1"}), "2")
    )
    assert assign(given, again, SETTINGS).apps["/b"] == given.apps["/b"]


def test_an_app_that_fails_is_held_back_longer_each_time() -> None:
    queue = LaunchQueue(tokens=10, refresh_s=30)
    failing = app(backoffSeconds=10, backoffFactor=2, maxLaunchDelaySeconds=25)
    queue.add(failing, 1)
    assert queue.wants_offers()
    delays: list[int] = []
    for _ in range(3):
        queue.note_failure(failing)
        delays.append(round(queue.delay_s("/a")))
    assert delays == [10, 20, 25]
    assert not queue.wants_offers()
    queue.reset_delay("/a")
    assert queue.wants_offers()


def test_launch_tokens_bound_what_is_under_way() -> None:
    queue = LaunchQueue(tokens=2, refresh_s=1000)
    queue.add(app(), 5)
    queue.launched("/a")
    queue.launched("/a")
    assert not queue.has_token()
    queue.confirmed()
    assert queue.has_token()
    assert queue.count("/a") == 3


def test_the_queue_tells_why_in_the_shape_of_the_published_example() -> None:
    queue = LaunchQueue(tokens=2, refresh_s=1000)
    queue.add(app(), 2)
    for reason in ("InsufficientCpus", "InsufficientCpus", "InsufficientMemory"):
        queue.waiting["/a"].note(offer(cpus=1), reason)
    seen = queue.rendered(unused=True)["queue"][0]
    wanted = read("api-examples/queue.json")["queue"][1]
    assert set(wanted) <= set(seen)
    assert set(wanted["processedOffersSummary"]) - {"lastUsedOfferAt"} <= set(
        seen["processedOffersSummary"]
    )
    funnel = {
        step["reason"]: (step["declined"], step["processed"])
        for step in seen["processedOffersSummary"]["rejectSummaryLastOffers"]
    }
    assert funnel["InsufficientCpus"] == (2, 3)
    assert funnel["InsufficientMemory"] == (1, 1)
    unused = wanted["lastUnusedOffers"][0]
    assert set(seen["lastUnusedOffers"][0]) == set(unused)
    assert set(seen["lastUnusedOffers"][0]["offer"]) == set(unused["offer"])


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("a", {"a": "1"}, True),
        ("a==1,b", {"a": "1"}, False),
        ("a==1,b", {"a": "1", "b": ""}, True),
        ("a!=1", {"a": "2"}, True),
        ("a in (1, 2)", {"a": "2"}, True),
        ("a notin (1, 2)", {"a": "2"}, False),
        ("", {}, True),
    ],
)
def test_labels_select_apps(text: str, labels: dict[str, str], matches: bool) -> None:
    assert selector(text)(labels) is matches


def test_a_selector_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ApiError, match="parse"):
        selector("a = = b")


def test_buckets_are_those_of_javas_hash() -> None:
    """`id` hashes to 3355 in Java; "polygenelubricants" to the least integer of all."""
    assert bucket("id") == f"{3355 % 16:x}"
    assert bucket("polygenelubricants") == "0"
