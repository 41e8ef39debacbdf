"""Marathon's dangerous habits, kept on purpose: migrations have to live with them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from stacks.local.marathon.settings import MarathonSettings
from stacks.local.mesos.executor import start_time
from tests.local.rig import Rig, RunningMarathon, until
from tests.local.test_cluster import Projection
from tests.local.test_processes import run

SLEEP: dict[str, Any] = {"id": "/sleep", "cmd": "exec sleep 1000000", "cpus": 0.1, "mem": 32}
SLOW: dict[str, Any] = {"zk_session_timeout_s": 10}


def ids(tasks: list[dict[str, Any]]) -> set[str]:
    return {task["id"] for task in tasks}


async def test_it_ends_when_another_master_leads_and_its_tasks_go_on(rig: Rig) -> None:
    await rig.masters("blue", 1, **SLOW)
    green = (await rig.masters("green", 1, **SLOW))[0]
    agent = await rig.agent("blue", **SLOW)
    marathon = await rig.leading("blue")
    await marathon.change("POST", "/v2/apps", {**SLEEP, "instances": 2})
    before = await marathon.running("/sleep", 2)
    await marathon.settled()
    projection = Projection(rig.hosts)
    try:
        projection.put(rig.path("blue"), green)
        await until(lambda: marathon.failures, "Marathon ends")
        assert marathon.failures[0][1] == 105
        await marathon.stop()
        await until(lambda: agent.registered_with == green.address, "the agent follows")
        again = await rig.leading("blue")
        after = await again.running("/sleep", 2)
    finally:
        projection.close()
    assert ids(after) == ids(before)
    assert again.marathon.state.framework_id == marathon.marathon.state.framework_id


@pytest.mark.long
async def test_it_relaunches_what_fresh_masters_do_not_know_and_kills_the_original_later(
    rig: Rig,
) -> None:
    await rig.masters("blue", 1, **SLOW)
    agent = await rig.agent("blue", number=0, **SLOW)
    first = await rig.leading("blue")
    await first.change("POST", "/v2/apps", SLEEP)
    original = (await first.running("/sleep", 1))[0]
    await first.settled()
    await first.stop()
    record = next(iter(agent.tasks.records.values()))
    await rig.masters("green", 1, **SLOW)
    await rig.agent("green", number=1, **SLOW)
    # It asks some seconds after it leads, 15 where nobody says otherwise, and not before.
    started = time.monotonic()
    second = await rig.leading("green", reconciliation_initial_delay_ms=2000)
    replacement = await replaced(second, original["id"])
    assert time.monotonic() - started >= 2
    assert MarathonSettings.model_fields["reconciliation_initial_delay_ms"].default == 15_000
    assert start_time(record.pid or 0) is not None  # Now it runs twice.
    await rig.stop_agent(agent)
    back = await rig.agent("green", number=0, port=agent.settings.port, **SLOW)
    await until(lambda: not back.tasks.records, "the original has been killed", 30)
    assert ids(await second.running("/sleep", 1)) == {replacement["id"]}
    failure = (await second.get("/v2/apps/sleep"))["app"]["lastTaskFailure"]
    assert (failure["state"], failure["taskId"]) == ("TASK_UNKNOWN", original["id"])


async def replaced(marathon: RunningMarathon, task_id: str) -> dict[str, Any]:
    async def find() -> dict[str, Any] | None:
        tasks = await marathon.running("/sleep", 1)
        return tasks[0] if tasks[0]["id"] != task_id else None

    return await until(find, "the task is replaced", 30)


async def test_it_replaces_an_unreachable_task_at_once_unless_the_app_says_to_wait(
    rig: Rig,
) -> None:
    await rig.masters("blue", 1, agent_ping_timeout_s=0.3, max_agent_ping_timeouts=5, **SLOW)
    agent = await rig.agent("blue", number=0, **SLOW)
    marathon = await rig.leading("blue")
    patient = {"inactiveAfterSeconds": 600, "expungeAfterSeconds": 1200}
    for name, more in (("/hasty", {}), ("/patient", {"unreachableStrategy": patient})):
        await marathon.change("POST", "/v2/apps", {**SLEEP, "id": name, **more})
        await marathon.running(name, 1)
    await marathon.settled()
    await rig.agent("blue", number=1, **SLOW)
    before = {name: (await marathon.get(f"/v2/apps{name}/tasks"))["tasks"] for name in
              ("/hasty", "/patient")}  # fmt: skip
    await rig.stop_agent(agent)
    (hasty,) = before["/hasty"]

    async def moved() -> bool:
        tasks = (await marathon.get("/v2/apps/hasty/tasks"))["tasks"]
        return bool(tasks) and hasty["id"] not in ids(tasks)

    await until(moved, "the hasty app is replaced", 30)
    (waiting,) = (await marathon.get("/v2/apps/patient/tasks"))["tasks"]
    assert (waiting["id"], waiting["state"]) == (before["/patient"][0]["id"], "TASK_UNREACHABLE")
    await rig.agent("blue", number=0, port=agent.settings.port, **SLOW)
    assert ids(await marathon.running("/patient", 1)) == ids(before["/patient"])
    await marathon.running("/hasty", 1)


async def test_another_instance_passes_requests_on_and_leads_when_the_first_has_gone(
    rig: Rig,
) -> None:
    await rig.masters(count=1, **SLOW)
    await rig.agent(**SLOW)
    first = await rig.leading()
    second = await rig.marathon()
    await until(lambda: second.marathon.latch.leader, "the second knows the first")
    await second.change("POST", "/v2/apps", SLEEP)
    tasks = await second.running("/sleep", 1)
    answer = await second.call("GET", "/v2/leader")
    assert answer.json() == {"leader": first.marathon.settings.host_port}
    assert answer.headers["x-marathon-leader"] == first.url
    assert (await rig.http.get(f"{second.url}/ping")).text == "pong"
    assert "stand-in" in (await rig.http.get(second.url)).text.lower()
    assert (await first.call("DELETE", "/v2/leader")).json() == {"message": "Leadership abdicated"}
    await until(lambda: first.failures, "the first ends")
    assert first.failures[0][1] == 105
    await first.stop()
    await until(lambda: second.marathon.link.connected_to, "the second leads")
    assert ids(await second.running("/sleep", 1)) == ids(tasks)


@pytest.mark.parametrize("document", ['{"wrokdir": 1}', "{"])
def test_a_wrong_configuration_is_refused_in_one_line(tmp_path: Path, document: str) -> None:
    config = tmp_path / "config.json"
    config.write_text(document)
    ended = run("marathon", config)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "config.json" in ended.stderr
