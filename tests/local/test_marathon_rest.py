"""Marathon's REST interface: locks, rollback, reasons, health, events, published examples."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest_asyncio

from tests.local.rig import Rig, RunningMarathon, until
from tests.local.test_recorded_exchanges import assert_same_shape, shape

EXAMPLES = Path(__file__).parents[1] / "fixtures" / "marathon" / "api-examples"
SLEEP: dict[str, Any] = {"id": "/sleep", "cmd": "exec sleep 1000000", "cpus": 0.1, "mem": 32}
NOWHERE = {**SLEEP, "id": "/nowhere", "constraints": [["rack", "LIKE", "none"]]}
SERVER = {
    "id": "/server",
    "cmd": "exec python3 -m http.server --bind 127.0.0.1 $PORT0",
    "cpus": 0.1,
    "mem": 32,
}


def example(name: str) -> Any:
    return json.loads((EXAMPLES / f"{name}.json").read_text())


@pytest_asyncio.fixture
async def marathon(rig: Rig) -> AsyncIterator[RunningMarathon]:
    """One master, two agents on two racks, one Marathon."""
    await rig.masters(count=1, zk_session_timeout_s=10)
    for number in range(2):
        attributes = {"rack": f"r{number}"}
        await rig.agent(
            number=number, hostname=f"h{number}", attributes=attributes, zk_session_timeout_s=10
        )
    yield await rig.leading()


async def test_a_deployment_locks_its_apps_until_it_is_forced_rolled_back_or_cancelled(
    marathon: RunningMarathon,
) -> None:
    stuck = await marathon.change("POST", "/v2/apps", NOWHERE)
    refused = await marathon.call("PUT", "/v2/apps/nowhere", {"instances": 2})
    assert (refused.status_code, refused.json()) == (
        409,
        {
            "message": "App is locked by one or more deployments. Override with the option "
            "'?force=true'. View details at '/v2/deployments/<DEPLOYMENT_ID>'.",
            "deployments": [{"id": stuck}],
        },
    )
    forced = await marathon.change("PUT", "/v2/apps/nowhere?force=true", {"instances": 2})
    (running,) = await marathon.get("/v2/deployments")
    assert running["id"] == forced
    assert running["currentActions"][0]["action"] == "ScaleApplication"
    assert list(running) == list(example("deployments")[0])
    back = await marathon.change("DELETE", f"/v2/deployments/{forced}")
    (running,) = await marathon.get("/v2/deployments")
    assert running["id"] == back
    app = (await marathon.get("/v2/apps/nowhere"))["app"]
    assert (app["instances"], app["deployments"]) == (1, [{"id": back}])
    cancelled = await marathon.call("DELETE", f"/v2/deployments/{back}?force=true")
    assert (cancelled.status_code, cancelled.text) == (202, "")
    assert await marathon.get("/v2/deployments") == []
    assert (await marathon.get("/v2/apps/nowhere"))["app"]["instances"] == 1
    missing = await marathon.call("DELETE", "/v2/deployments/none")
    assert (missing.status_code, missing.json()) == (
        404,
        {"message": "DeploymentPlan none does not exist"},
    )


async def test_a_rolled_back_creation_takes_the_app_away(marathon: RunningMarathon) -> None:
    stuck = await marathon.change("POST", "/v2/apps", NOWHERE)
    await marathon.settled(await marathon.change("DELETE", f"/v2/deployments/{stuck}"))
    assert (await marathon.call("GET", "/v2/apps/nowhere")).status_code == 404


async def test_the_queue_tells_why_an_app_is_not_placed(marathon: RunningMarathon) -> None:
    await marathon.change("POST", "/v2/apps", NOWHERE)
    await marathon.change("POST", "/v2/apps", {**SLEEP, "id": "/big", "cpus": 100})

    async def reasons() -> dict[str, str] | None:
        found: dict[str, str] = {}
        for item in (await marathon.get("/v2/queue"))["queue"]:
            for step in item["processedOffersSummary"]["rejectSummaryLaunchAttempt"]:
                if step["declined"]:
                    found[item["app"]["id"]] = step["reason"]
        return found if len(found) == 2 else None

    assert await until(reasons, "offers were looked at") == {
        "/nowhere": "UnfulfilledConstraint",
        "/big": "InsufficientCpus",
    }


async def test_constraints_spread_instances_over_agents(marathon: RunningMarathon) -> None:
    unique = {**SLEEP, "instances": 2, "constraints": [["hostname", "UNIQUE"]]}
    await marathon.change("POST", "/v2/apps", unique)
    tasks = await marathon.running("/sleep", 2)
    assert {task["host"] for task in tasks} == {"h0", "h1"}
    await marathon.change(
        "POST", "/v2/apps", {**SLEEP, "id": "/one", "constraints": [["rack", "CLUSTER", "r1"]]}
    )
    assert [task["host"] for task in await marathon.running("/one", 1)] == ["h1"]
    ports = [port for task in tasks for port in task["ports"]]
    assert all(31000 <= port <= 32000 for port in ports)


async def test_groups_deploy_in_the_order_of_dependencies(marathon: RunningMarathon) -> None:
    body = {
        "id": "/shop",
        "apps": [
            {**SLEEP, "id": "web", "dependencies": ["db"]},
            {**SLEEP, "id": "db"},
        ],
    }
    dry = await marathon.call("PUT", "/v2/groups/shop?dryRun=true", body)
    assert [[a["app"] for a in step["actions"]] for step in dry.json()["steps"]] == [
        ["/shop/db", "/shop/web"],
        ["/shop/db"],
        ["/shop/web"],
    ]
    created = await marathon.call("POST", "/v2/groups", body)
    assert created.status_code == 201
    assert list(created.json()) == ["version", "deploymentId"]
    await marathon.settled()
    (db,), (web,) = [await marathon.running(f"/shop/{name}", 1) for name in ("db", "web")]
    assert db["startedAt"] <= web["stagedAt"]
    assert (await marathon.call("POST", "/v2/groups", body)).status_code == 409
    group = await marathon.get("/v2/groups/shop")
    assert [app["id"] for app in group["apps"]] == ["/shop/db", "/shop/web"]
    await marathon.change("PUT", "/v2/groups/shop", {"scaleBy": 2})
    await marathon.running("/shop/db", 2)
    await marathon.settled()
    await marathon.change("DELETE", "/v2/groups/shop")
    await marathon.settled()
    assert (await marathon.get("/v2/groups"))["groups"] == []
    assert (await marathon.get("/v2/tasks"))["tasks"] == []


async def test_health_checks_of_all_kinds_count_and_an_unhealthy_task_is_replaced(
    marathon: RunningMarathon,
) -> None:
    quick = {"intervalSeconds": 1, "gracePeriodSeconds": 60, "delaySeconds": 0}
    checks = [
        {"protocol": "HTTP", "path": "/", **quick},
        {"protocol": "TCP", **quick},
        {
            "protocol": "COMMAND",
            "command": {"value": '[ ! -e "$MESOS_SANDBOX/sick" ]'},
            "maxConsecutiveFailures": 1,
            **quick,
        },
    ]
    await marathon.change("POST", "/v2/apps", {**SERVER, "healthChecks": checks})
    (first,) = await marathon.running("/server", 1)
    await marathon.settled()
    app = (await marathon.get("/v2/apps/server"))["app"]
    assert (app["tasksHealthy"], app["tasksUnhealthy"]) == (1, 0)
    results = app["tasks"][0]["healthCheckResults"]
    assert [result["alive"] for result in results] == [True] * 3
    sandbox = next(
        Path(record.sandbox)
        for agent in marathon.agents()
        for record in agent.tasks.records.values()
    )
    (sandbox / "sick").touch()

    async def replaced() -> bool:
        tasks = (await marathon.get("/v2/apps/server/tasks"))["tasks"]
        return bool(tasks) and first["id"] not in {task["id"] for task in tasks}

    await until(replaced, "the sick task is replaced", 30)


async def test_an_app_that_fails_is_held_back_and_its_failure_is_told(
    marathon: RunningMarathon,
) -> None:
    failing = {**SLEEP, "id": "/failing", "cmd": "exit 3", "backoffSeconds": 30}
    await marathon.change("POST", "/v2/apps", failing)

    async def failed() -> Any:
        return (await marathon.get("/v2/apps/failing"))["app"].get("lastTaskFailure")

    failure = await until(failed, "the failure is told")
    assert (failure["state"], failure["message"]) == (
        "TASK_FAILED",
        "Command exited with status 3",
    )

    async def waiting() -> Any:
        return (await marathon.get("/v2/queue"))["queue"]

    (item,) = await until(waiting, "the next one waits")
    assert item["delay"]["timeLeftSeconds"] > 20
    assert (await marathon.call("DELETE", "/v2/queue//failing/delay")).status_code == 204
    assert (await marathon.call("DELETE", "/v2/queue//none/delay")).status_code == 404


async def test_tasks_are_killed_replaced_and_scaled_away(marathon: RunningMarathon) -> None:
    await marathon.change("POST", "/v2/apps", {**SLEEP, "instances": 3})
    before = await marathon.running("/sleep", 3)
    await marathon.settled()
    killed = await marathon.call("DELETE", f"/v2/apps/sleep/tasks/{before[0]['id']}")
    assert killed.json()["task"]["id"] == before[0]["id"]

    async def replaced() -> bool:
        tasks = await marathon.running("/sleep", 3)
        return before[0]["id"] not in {task["id"] for task in tasks}

    await until(replaced, "a killed task is replaced")
    doomed = before[1]["id"]
    await marathon.change("POST", "/v2/tasks/delete?scale=true", {"ids": [doomed]})
    await marathon.settled()
    left = await marathon.running("/sleep", 2)
    assert doomed not in {task["id"] for task in left}
    assert (await marathon.get("/v2/apps/sleep"))["app"]["instances"] == 2


async def test_versions_are_kept_and_gone_back_to(marathon: RunningMarathon) -> None:
    await marathon.change("POST", "/v2/apps", SLEEP)
    await marathon.running("/sleep", 1)
    await marathon.settled()
    (first,) = (await marathon.get("/v2/apps/sleep/versions"))["versions"]
    await marathon.change("PUT", "/v2/apps/sleep", {"labels": {"a": "b"}})
    await marathon.settled()
    assert len((await marathon.get("/v2/apps/sleep/versions"))["versions"]) == 2
    assert (await marathon.get("/v2/apps?label=a==b"))["apps"][0]["id"] == "/sleep"
    await marathon.change("PUT", "/v2/apps/sleep", {"version": first})
    await marathon.settled()
    assert (await marathon.get("/v2/apps/sleep"))["app"]["labels"] == {}
    restarted = await marathon.change("POST", "/v2/apps/sleep/restart")
    await marathon.settled(restarted)


async def test_events_tell_of_a_deployment_from_beginning_to_end(
    marathon: RunningMarathon,
) -> None:
    wanted = ["deployment_info", "deployment_success", "status_update_event"]
    query = "&".join(f"event_type={name}" for name in wanted)
    seen: list[tuple[str, dict[str, Any]]] = []
    async with marathon.http.stream(
        "GET", f"{marathon.url}/v2/events?{query}&plan-format=light"
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        await marathon.change("POST", "/v2/apps", SLEEP)
        kind = ""
        async for line in response.aiter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                seen.append((kind, json.loads(line.removeprefix("data: "))))
                if kind == "deployment_success":
                    break
    assert seen[0][0] == "deployment_info"
    assert all(event["eventType"] == kind for kind, event in seen)
    assert "TASK_RUNNING" in {event.get("taskStatus") for _, event in seen}
    plan = seen[0][1]["plan"]
    assert "original" not in plan
    assert [a["action"] for step in plan["steps"] for a in step["actions"]] == [
        "StartApplication",
        "ScaleApplication",
    ]


async def test_answers_have_the_shape_of_the_published_examples(
    marathon: RunningMarathon,
) -> None:
    """Examples come from several versions of Marathon: what they hold is there, in this shape."""
    await marathon.change("POST", "/v2/apps", {**SLEEP, "instances": 1})
    await marathon.running("/sleep", 1)
    await marathon.settled()
    await marathon.change("PATCH", "/v2/apps/sleep", {"instances": 2})
    await marathon.running("/sleep", 2)
    await marathon.settled()
    info = await marathon.get("/v2/info")
    assert_within(example("info"), info, {"access_control_allow_origin"})
    tasks = await marathon.get("/v2/apps/sleep/tasks")
    assert_within(example("app_tasks"), tasks, {"region", "zone"})
    assert_within(example("tasks"), await marathon.get("/v2/tasks"), {"region", "zone"})
    deprecated = {
        "ports", "uris", "args", "user", "env", "constraints", "container", "dependencies",
        "healthChecks",
    }  # fmt: skip
    assert_within(example("app_list"), await marathon.get("/v2/apps"), deprecated)
    answer = await marathon.call("DELETE", "/v2/apps/sleep")
    assert_same_shape(shape(answer.json()), shape(dict(sorted(example("deployments_result").items(),
                      reverse=True))))  # fmt: skip


def assert_within(wanted: Any, seen: Any, apart_from: set[str], where: str = "body") -> None:
    """Every field of an example is there, of the same kind; null says nothing of kinds."""
    if isinstance(wanted, dict) and isinstance(seen, dict):
        found = cast("dict[str, Any]", seen)
        for key, item in cast("dict[str, Any]", wanted).items():
            if key not in apart_from:
                assert key in found, f"{where}.{key}"
                assert_within(item, found[key], apart_from, f"{where}.{key}")
    elif isinstance(wanted, list) and isinstance(seen, list):
        if wanted and seen:
            assert_within(wanted[0], seen[0], apart_from, f"{where}[]")
    elif wanted is not None and seen is not None:
        if isinstance(wanted, int | float):
            assert isinstance(seen, int | float), where
        else:
            assert type(cast("object", seen)) is type(cast("object", wanted)), where
