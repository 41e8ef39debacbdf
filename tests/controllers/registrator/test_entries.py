"""What Consul is to have of apps and their instances: values in, values out."""

from __future__ import annotations

from typing import Any

import pytest

from clients.consul import Status
from controllers.registrator.entries import find
from tests.controllers.registrator.source import app, task


def names(*apps: Any) -> set[tuple[str, str]]:
    tasks = [task(one.id, number, ports=(31_000, 31_001)) for number, one in enumerate(apps)]
    return {(one.app_id, one.name) for one in find(apps, tasks).entries}


def test_an_app_is_called_as_mesos_dns_calls_it() -> None:
    assert names(app("/shop/front.end/Web")) == {("/shop/front.end/Web", "web-front-end-shop")}


def test_each_port_of_an_app_is_a_service_of_its_own() -> None:
    ports = [{"port": 1, "name": "http"}, {"port": 2, "name": "Admin"}]
    one = app(portDefinitions=ports)

    found = find([one], [task(ports=(31_005, 31_006), host="Agent-1")]).entries

    assert [(e.name, e.port, e.tags) for e in found] == [
        ("web", 31_005, ("http",)),
        ("web-admin", 31_006, ("Admin",)),
    ]
    assert {e.host for e in found} == {"agent-1"}
    assert len({e.id for e in found}) == 2


def test_ports_of_containers_and_apps_without_ports_have_names_too() -> None:
    container = {"portMappings": [{"containerPort": 80}, {"containerPort": 81}]}

    assert names(app(container=container)) == {("/web", "web"), ("/web", "web-1")}
    (entry,) = find([app(portDefinitions=[])], [task(ports=())]).entries
    assert (entry.name, entry.port) == ("web", 0)


def test_labels_name_leave_out_and_tag() -> None:
    labels = {"consul": "shop", "public": "tag", "owner": "ann"}
    ports = [{"port": 1, "labels": {"v2": "tag"}}, {"port": 2, "labels": {"consul": "false"}}]

    (entry,) = find(
        [app(labels=labels, portDefinitions=ports), app("/no", labels={"consul": "false"})],
        [task(ports=(1, 2)), task("/no")],
    ).entries

    assert (entry.name, entry.tags) == ("shop", ("public", "v2"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"consul": "a b"}, "expected 1 to 63"),
        ({"consul": "a.b"}, "expected 1 to 63"),
        ({"consul": "x" * 64}, "expected 1 to 63"),
        ({"consul": "consul"}, "no service of Consul's"),
        ({"a b": "tag"}, "expected a tag"),
    ],
)
def test_what_cannot_be_is_told_and_takes_nothing_from_others(
    given: dict[str, str], expected: str
) -> None:
    found = find([app("/a", labels=given), app("/b")], [task("/a"), task("/b")])

    (problem,) = found.problems
    assert problem.app_id == "/a"
    assert expected in problem.why
    assert "b" in {entry.name for entry in found.entries}


def test_nobody_takes_the_name_of_another_apps_path() -> None:
    thief = app("/a", labels={"consul": "web"})

    found = find([thief, app("/web")], [task("/a"), task("/web")])

    assert [entry.app_id for entry in found.entries] == ["/web"]
    assert [problem.why for problem in found.problems] == ["the name web is /web's"]
    # Of two whose paths come to the same name, the first has it.
    assert names(app("/a/b-c"), app("/c-a/b")) == {("/a/b-c", "b-c-a")}


def test_apps_that_are_all_named_so_share_a_name() -> None:
    both = [app(f"/{color}", labels={"consul": "web"}) for color in ("blue", "green")]

    assert names(*both) == {("/blue", "web"), ("/green", "web")}


@pytest.mark.parametrize(
    ("checked", "healthy", "state", "expected"),
    [
        (False, None, "TASK_RUNNING", Status.PASSING),
        (True, True, "TASK_RUNNING", Status.PASSING),
        (True, False, "TASK_RUNNING", Status.CRITICAL),
        (True, True, "TASK_KILLING", Status.CRITICAL),
        # Marathon has just been elected, and has heard of no check yet.
        (True, None, "TASK_RUNNING", None),
    ],
)
def test_a_check_says_what_marathon_knows(
    checked: bool, healthy: bool | None, state: str, expected: Status | None
) -> None:
    (entry,) = find([app(checked=checked)], [task(state=state, healthy=healthy)]).entries

    assert entry.status is expected


def test_tasks_that_do_not_run_and_tasks_of_no_app_have_none() -> None:
    tasks = [task(state="TASK_STAGING"), task(state="TASK_FAILED"), task("/gone")]

    assert find([app()], tasks).entries == ()
