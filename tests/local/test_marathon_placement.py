"""What Marathon decides of places on values: constraints, offers, ports, kills, the queue."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stacks.local.errors import ApiError
from stacks.local.marathon import matching
from stacks.local.marathon.constraints import suits
from stacks.local.marathon.definition import complete, versioned
from stacks.local.marathon.groups import Tree
from stacks.local.marathon.instances import Instance, to_kill
from stacks.local.marathon.labels import selector
from stacks.local.marathon.queue import LaunchQueue
from stacks.local.marathon.service_ports import assign, service_ports
from stacks.local.marathon.settings import MarathonSettings
from stacks.local.marathon.store import bucket
from tests.local.test_marathon_values import app, read, tree

SETTINGS = MarathonSettings(listen="h:1", master="zk://h:1/m", zk="zk://h:1/s")


def instance(name: str, host: str = "h", **given: Any) -> Instance:
    made = Instance(
        id=name, app_id="/a", version="1", agent_id="S0", host=host, role="*", ports=[],
        attributes={}, staged_at="2026", state="TASK_RUNNING",
    )  # fmt: skip
    return replace(made, **given)


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
