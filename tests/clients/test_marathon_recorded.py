"""What Marathon's own project says that it answers and takes: read, and let through."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from clients.marathon import DefinitionError, MarathonClient, ProtocolError, parse
from clients.marathon.coverage import differences
from clients.marathon.definition import read_app, read_group
from clients.marathon.model import Deployment, Group, Reason, Started
from tests.clients.scripted import Scripted
from tests.fixtures.marathon import load, names

LEADER = "localhost:8080"
Call = Callable[[MarathonClient], Awaitable[Any]]
# Requests, not answers, or of what is not declared here.
REQUESTS = {
    "api-examples/app-check-http-example",
    "api-examples/app_patch",
    "api-examples/apps_create",
    "api-examples/apps_patch",
    "api-examples/pod",
}


async def ask(name: str, key: str, call: Call) -> tuple[Any, Scripted]:
    """Make a request that is answered by an example."""
    answers = {
        "GET /v2/leader": [httpx.Response(200, json={"leader": LEADER})],
        key: [httpx.Response(200, json=load(name))],
    }
    scripted = Scripted(**answers)
    transport = httpx.MockTransport(scripted)
    async with MarathonClient([LEADER], transport=transport, timeout_s=1) as client:
        return await call(client), scripted


EXAMPLES: list[tuple[str, str, Call, Callable[[Any], bool]]] = [
    (
        "api-examples/app",
        "GET /v2/apps/foo",
        lambda c: c.app("/foo"),
        lambda app: (app.id, app.instances, app.has_health_checks) == ("/foo", 2, True),
    ),
    (
        "api-examples/app_list",
        "GET /v2/apps",
        lambda c: c.apps(),
        lambda apps: apps[0].deployments == ("9538079c-3898-4e32-aa31-799bf9097f74",),
    ),
    (
        "api-examples/app_tasks",
        "GET /v2/apps/minecraft/survival-world/tasks",
        lambda c: c.app_tasks("/minecraft/survival-world"),
        lambda tasks: (tasks[0].state, tasks[0].agent_id) == ("TASK_STAGING", "agent0"),
    ),
    (
        "api-examples/tasks",
        "GET /v2/tasks",
        lambda c: c.tasks(),
        lambda tasks: [t.app_id for t in tasks] == ["/frontend-foosball", "/tools/docker/registry"],
    ),
    (
        "api-examples/deployments",
        "GET /v2/deployments",
        lambda c: c.deployments(),
        lambda found: (
            found[0]
            == Deployment(
                "97c136bf-5a28-4821-9d94-480d9fbb01c8",
                "2015-09-30T09:09:17.614Z",
                ("/foo", "/bla"),
                (("ScaleApplication", "/foo"),),
                1,
                1,
            )
        ),
    ),
    (
        "api-examples/deployments_result",
        "DELETE /v2/deployments/5ed4c0c5",
        lambda c: c.roll_back("5ed4c0c5"),
        lambda found: (
            found == Started("5ed4c0c5-9ff8-4a6f-a0cd-f57f59a34b43", "2015-09-29T15:59:51.164Z")
        ),
    ),
    (
        "api-examples/queue",
        "GET /v2/queue",
        lambda c: c.queue(),
        lambda queue: (
            [one.id for one in queue] == ["/tools/datadog-agent", "/foo"]
            and queue[1].reasons[0] == Reason("InsufficientCpus", 75, 123)
        ),
    ),
    (
        "api-examples/info",
        "GET /v2/info",
        lambda c: c.info(),
        lambda info: (
            (info.elected, info.framework_id) == (True, "96d7da70-b731-4cfb-96a7-0ee877af615d-0000")
        ),
    ),
    (
        "api-examples/group",
        "GET /v2/groups",
        lambda c: c.group(),
        lambda group: next(app.id for app in group.all_apps()) == "/tools/oauth-server",
    ),
]


@pytest.mark.parametrize(("name", "key", "call", "holds"), EXAMPLES, ids=[e[0] for e in EXAMPLES])
async def test_examples_of_answers_are_read(
    name: str, key: str, call: Call, holds: Callable[[Any], bool]
) -> None:
    found, scripted = await ask(name, key, call)
    assert holds(found), found
    if name == "api-examples/group":
        embedded = set(scripted.requests[-1].url.params.get_list("embed"))
        assert {"group.groups", "group.apps", "group.pods"} < embedded
    assert scripted.kinds == ["GET /v2/leader", key]


def test_every_example_is_read_or_is_a_request() -> None:
    used = {example[0] for example in EXAMPLES} | REQUESTS
    assert used | {"api-examples/app_task", "api-examples/deployment_steps"} == set(
        names("api-examples")
    )
    assert parse.task(load("api-examples/app_task")).app_id == "/minecraft/survival-world"
    assert parse.steps(load("api-examples/deployment_steps")) == (
        (("StartApplication", "/tools/oauth-server"),),
        (("ScaleApplication", "/tools/oauth-server"),),
    )


@pytest.mark.parametrize("name", [*names("apps"), "api-examples/app-check-http-example"])
def test_apps_of_marathons_system_tests_are_let_through_as_they_are(name: str) -> None:
    definition = load(name)
    sent = read_app(definition)
    assert sent["id"] == "/" + definition["id"].lstrip("/")
    assert {**sent, "id": definition["id"]} == definition


@pytest.mark.parametrize("name", ["groups/sleep-group", "groups/apps_100", "groups/apps_1000"])
def test_large_groups_are_read_and_cover_themselves(name: str) -> None:
    definition = load(name)
    group = parse.group(definition)
    apps = list(group.all_apps())
    assert len(apps) == {"sleep-group": 2, "apps_100": 100, "apps_1000": 1000}[name[7:]]
    for app in apps:
        ours = {k: v for k, v in app.definition.items() if k != "versionInfo"}
        assert differences(read_app(ours), app.definition) == []


def test_dependencies_are_read_as_marathon_resolves_them() -> None:
    page = {"id": "page", "cmd": "x", "dependencies": ["../store", "/db"]}
    group = read_group(
        {
            "id": "/shop",
            "apps": [{"id": "store", "cmd": "x", "dependencies": ["cache"]}],
            "groups": [{"id": "front", "apps": [page], "dependencies": ["../store"]}],
        }
    )
    assert group["dependencies"] == []
    assert group["apps"][0]["dependencies"] == ["/shop/cache"]
    (front,) = group["groups"]
    assert front["dependencies"] == ["/shop/store"]
    assert front["apps"][0]["dependencies"] == ["/shop/store", "/db"]
    assert read_app({"id": "/a/b", "cmd": "x", "dependencies": ["c"]})["dependencies"] == ["/c"]
    with pytest.raises(DefinitionError, match="dependencies of a"):
        read_app({"id": "a", "cmd": "x", "dependencies": ["No Id"]})


def test_a_group_is_checked_with_all_that_is_in_it() -> None:
    group = read_group(load("groups/sleep-group"))
    assert [app["id"] for app in group["groups"][0]["apps"]] == [
        "/sleep-group/sleep/goodnight-1",
        "/sleep-group/sleep/goodnight-2",
    ]
    relative = {"id": "/a", "apps": [{"id": "b", "cmd": "true"}], "groups": [{"id": "c"}]}
    group = read_group(relative)
    assert (group["apps"][0]["id"], group["groups"][0]["id"]) == ("/a/b", "/a/c")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"id": "/a", "apps": [{"id": "/b/x", "cmd": "true"}]}, "stand below /a"),
        ({"id": "/a", "pods": []}, "pods are not declared"),
        ({"apps": []}, "with an id"),
    ]
    for wrong, told in cases:
        with pytest.raises(DefinitionError, match=told):
            read_group(wrong)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"instance": 2}, "instance: no such field"),
        ({"container": {"docker": {"img": "x", "image": "y"}}}, "container.docker.img: no such"),
        ({"constraints": [["hostname", "ONLY"]]}, "expected an operator"),
        ({"constraints": [["hostname", "UNIQUE", "yes"]]}, "no offer could fulfil"),
        ({"constraints": [["rack", "LIKE", "("]]}, "regular expression"),
        ({"constraints": [["rack", "MAX_PER", "0"]]}, "above 0"),
        ({"constraints": [["rack"]]}, "operator"),
        ({"instances": -1}, "instances"),
        ({"mem": -1}, "mem"),
        ({"cmd": "true", "args": ["x"]}, "saw both"),
        ({"cmd": None}, "nothing would run"),
        ({"upgradeStrategy": {"minimumHealthCapacity": 2}}, "minimumHealthCapacity"),
        ({"id": "/Upper"}, "lower-case"),
        ({"id": "/a/restart"}, "none of them"),
    ],
)
def test_what_would_do_nothing_or_never_run_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        read_app({"id": "/a", "cmd": "sleep 1", **fields})


@pytest.mark.parametrize(
    ("declared", "seen", "different"),
    [
        ({"cpus": 1}, {"cpus": 1.0}, []),
        ({"cpus": 1}, {"cpus": 2.0}, ["cpus"]),
        ({"env": {}}, {}, []),
        ({"env": {"A": "1"}}, {"env": {"A": "1", "B": "2"}}, []),
        ({"env": {"A": "1"}}, {"env": {"A": "2"}}, ["env"]),
        (
            {"constraints": [["hostname", "UNIQUE", ""]]},
            {"constraints": [["hostname", "UNIQUE"]]},
            [],
        ),
        ({"portDefinitions": [{"port": 0}]}, {"portDefinitions": [{"port": 10001}]}, []),
        (
            {"portDefinitions": [{"port": 80}]},
            {"portDefinitions": [{"port": 10001}]},
            ["portDefinitions"],
        ),
        ({"requirePorts": True}, {"requirePorts": False}, ["requirePorts"]),
        ({"requirePorts": False}, {"requirePorts": True}, ["requirePorts"]),
        ({"uris": ["x"]}, {"fetch": [{"uri": "x"}]}, []),
        ({"instances": 3}, {}, ["instances"]),
        ({"cmd": "a"}, {"cmd": None}, ["cmd"]),
    ],
)
def test_only_what_was_declared_is_compared(
    declared: dict[str, Any], seen: dict[str, Any], different: list[str]
) -> None:
    assert differences(declared, seen) == different


async def test_an_answer_of_another_shape_is_a_typed_error() -> None:
    for body in ("{}", "[]", '{"apps": [{}]}', "<html>"):
        scripted = Scripted(
            **{
                "GET /v2/leader": [httpx.Response(200, json={"leader": LEADER})],
                "GET /v2/apps": [httpx.Response(200, text=body)],
            }
        )
        async with MarathonClient([LEADER], transport=httpx.MockTransport(scripted)) as client:
            with pytest.raises(ProtocolError, match="is this Marathon"):
                await client.apps()


def test_a_group_tells_its_pods_too() -> None:
    group = parse.group({"id": "/", "groups": [{"id": "/a", "pods": [{"id": "/a/p"}]}]})
    assert isinstance(group, Group)
    assert list(group.all_pods()) == ["/a/p"]
    assert json.loads(json.dumps(load("groups/apps_100")))["pods"] == []
