"""Masters, agents and frameworks together: election, projection, adoption, failover, moves."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

from kazoo.client import KazooClient

from stacks.local.mesos.agent import Agent
from stacks.local.mesos.executor import start_time
from stacks.local.sample.roster import Step
from tests.local.rig import Rig, RunningFramework, RunningMaster, require_control_groups
from tests.waiting import until


def pids(tasks: list[Any]) -> dict[str, int]:
    return {task.id: task.pid for task in tasks}


class Projection:
    """One znode in an election path that names another cluster's leader."""

    def __init__(self, hosts: str) -> None:
        self.client: Any = KazooClient(hosts=hosts)
        self.client.start(timeout=10)

    def put(self, path: str, master: RunningMaster) -> str:
        data = json.dumps(master.master.info).encode()
        return self.client.create(f"{path}/json.info_0000000000", data, ephemeral=True)

    def close(self) -> None:
        self.client.stop()
        self.client.close()


def updates(framework: RunningFramework) -> list[dict[str, Any]]:
    """What the framework has noted of its tasks' statuses."""
    log = framework.scheduler.settings.work_dir / "updates.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()]


async def test_the_lowest_number_leads_and_followers_redirect(rig: Rig) -> None:
    group = await rig.masters(count=3)
    leader = await rig.leader(group)
    assert leader is group[0]
    for follower in group[1:]:
        health = await rig.http.get(f"http://{follower.address}/health")
        assert health.status_code == 200
        answer = await rig.call(follower, {"type": "GET_AGENTS"})
        assert answer.status_code == 307
        assert answer.headers["location"] == f"//{leader.address}/master/api/v1"
        state = await rig.http.get(f"http://{follower.address}/state")
        assert (state.status_code, state.headers["location"]) == (
            307,
            f"//{leader.address}/master/state",
        )
    redirect = await rig.http.get(f"http://{leader.address}/redirect")
    assert (redirect.status_code, redirect.headers["location"]) == (307, f"//{leader.address}")


async def test_number_zero_stays_free_for_a_projection(rig: Rig) -> None:
    group = await rig.masters(count=3)
    assert [m.master.leader and m.master.leader.number for m in group] == [1, 1, 1]


async def test_the_next_number_leads_when_the_leader_is_gone_and_keeps_the_registry(
    rig: Rig,
) -> None:
    group = await rig.masters(count=3)
    weights = {"weight_infos": [{"role": "dev", "weight": 2.0}]}
    update = {"type": "UPDATE_WEIGHTS", "update_weights": weights}
    assert (await rig.call(group[0], update)).status_code == 200
    await group[0].stop()
    leader = await rig.leader(group)
    assert leader is group[1]
    answer = await rig.call(leader, {"type": "GET_WEIGHTS"})
    assert answer.json()["get_weights"] == {"weight_infos": [{"weight": 2.0, "role": "dev"}]}


async def test_agents_and_framework_follow_a_projected_leader_and_come_back(rig: Rig) -> None:
    blue = (await rig.masters("blue", 1))[0]
    green = (await rig.masters("green", 1))[0]
    agents = [await rig.agent("blue", number) for number in range(2)]
    framework = await rig.framework("blue", tasks=4)
    before = pids(await rig.healthy(framework, 4))
    ids, framework_id = [agent.id for agent in agents], framework.scheduler.roster.framework_id
    projection = Projection(rig.hosts)
    try:
        started = time.monotonic()
        projection.put(rig.path("blue"), green)
        everybody = [*agents, framework.scheduler.link]
        await until(lambda: _all_with(everybody, green), "everybody follows green")
        forward_s = time.monotonic() - started
        await until(lambda: blue.failures, "the deposed leader ends")
        await blue.stop()
        assert "Lost leadership" in blue.failures[0]
        await rig.healthy(framework, 4)
        assert pids(list(framework.scheduler.roster.tasks.values())) == before
        assert [agent.id for agent in agents] == ids
        assert framework.scheduler.roster.framework_id == framework_id
        again = await rig.master("blue", 0, port=blue.master.settings.port)
        await until(lambda: again.master.leader, "the candidate sees the projected leader")
        redirect = await rig.http.get(f"http://{again.address}/redirect")
        assert redirect.headers["location"] == f"//{green.address}"
    finally:
        projection.close()
    await until(lambda: _all_with(everybody, again), "everybody is back")
    await rig.healthy(framework, 4)
    assert pids(list(framework.scheduler.roster.tasks.values())) == before
    counts = framework.scheduler.counts
    assert set(counts) <= {"TASK_STARTING", "TASK_RUNNING"}
    assert forward_s < 5


def _all_with(everybody: list[Any], master: RunningMaster) -> bool:
    names = [
        getattr(one, "registered_with", None) or getattr(one, "connected_to", None)
        for one in everybody
    ]
    return names == [master.address] * len(everybody)


async def test_a_fresh_master_adopts_unknown_agents_and_their_tasks(rig: Rig) -> None:
    blue = (await rig.masters("blue", 1))[0]
    agent = await rig.agent("blue")
    framework = await rig.framework("blue", tasks=2)
    before = pids(await rig.healthy(framework, 2))
    await rig.stop_framework(framework)
    await rig.stop_agent(agent)
    green = (await rig.masters("green", 1))[0]
    back = await rig.agent("green", port=agent.settings.port)
    await until(lambda: back.registered_with == green.address, "the agent is registered")
    assert back.id == agent.id
    answer = await rig.call(green, {"type": "GET_TASKS"})
    tasks = answer.json()["get_tasks"]["tasks"]
    assert {t["task_id"]["value"] for t in tasks} == set(before)
    assert {t["state"] for t in tasks} == {"TASK_RUNNING"}
    pid_of = {
        t["task_id"]["value"]: t["statuses"][-1]["container_status"]["executor_pid"] for t in tasks
    }
    assert pid_of == before
    frameworks = (await rig.call(green, {"type": "GET_FRAMEWORKS"})).json()["get_frameworks"]
    assert [f["recovered"] for f in frameworks["frameworks"]] == [True]
    assert blue.failures == []


async def test_a_restarted_framework_keeps_its_id_and_tasks(rig: Rig) -> None:
    await rig.masters(count=1)
    await rig.agent()
    first = await rig.framework(tasks=3)
    before = pids(await rig.healthy(first, 3))
    framework_id = first.scheduler.roster.framework_id
    await rig.stop_framework(first)
    second = await rig.framework(tasks=3)
    assert pids(await rig.healthy(second, 3)) == before
    assert second.scheduler.roster.framework_id == framework_id
    assert second.scheduler.counts.keys() == {"TASK_RUNNING"}


async def test_a_framework_that_stays_away_too_long_is_completed_and_its_processes_end(
    rig: Rig,
) -> None:
    master = (await rig.masters(count=1))[0]
    await rig.agent()
    framework = await rig.framework(tasks=2, failover_timeout_s=0.5)
    tasks = await rig.healthy(framework, 2)
    await rig.stop_framework(framework)
    await until(lambda: all(start_time(t.pid) is None for t in tasks), "its processes end")
    answer = (await rig.call(master, {"type": "GET_FRAMEWORKS"})).json()["get_frameworks"]
    assert not answer.get("frameworks")
    (done,) = answer["completed_frameworks"]
    assert done["framework_info"]["id"]["value"] == framework.scheduler.roster.framework_id


async def test_a_framework_that_finds_masters_without_its_agents_relaunches(rig: Rig) -> None:
    """Why frameworks stop before a projection: tasks unknown to a fresh registry count as ended."""
    await rig.masters("blue", 1)
    await rig.agent("blue")
    first = await rig.framework("blue", tasks=1)
    await rig.healthy(first, 1)
    await rig.stop_framework(first)
    await rig.masters("green", 1)
    second = await rig.framework("green", tasks=1, reconcile_delay_s=0)
    await until(lambda: second.scheduler.counts["TASK_UNKNOWN"], "the task is unknown")
    assert second.scheduler.roster.tasks == {}


async def test_a_replaced_task_runs_elsewhere_before_the_old_one_ends(rig: Rig) -> None:
    await rig.masters(count=1)
    agents = [await rig.agent(number=number) for number in range(2)]
    framework = await rig.framework(tasks=2)
    tasks = await rig.healthy(framework, 2)
    old = tasks[0]
    answers = [await rig.http.post(f"{framework.url}/tasks/{old.id}/replace") for _ in range(2)]
    assert {answer.status_code for answer in answers} <= {200, 202}

    def moved() -> bool:
        now = framework.scheduler.roster.tasks
        done = framework.scheduler.roster.replacements[old.id].step is Step.DONE
        return done and sum(t.is_healthy for t in now.values()) == 2

    await until(moved, "the task has moved")
    replacement = (await rig.http.post(f"{framework.url}/tasks/{old.id}/replace")).json()
    assert replacement["step"] == "done"
    new = framework.scheduler.roster.tasks[replacement["replacement"]]
    assert new.agent_id != old.agent_id
    assert {new.agent_id, old.agent_id} <= {agent.id for agent in agents}
    log = updates(framework)
    order = [(e["task_id"], e["state"]) for e in log]
    assert order.index((new.id, "TASK_RUNNING")) < order.index((old.id, "TASK_KILLED"))
    unknown = await rig.http.post(f"{framework.url}/tasks/nobody/replace")
    assert unknown.status_code == 404


async def test_a_replacement_goes_on_after_the_framework_was_restarted(rig: Rig) -> None:
    await rig.masters(count=1)
    agent = await rig.agent(number=0)
    first = await rig.framework(tasks=1)
    old = (await rig.healthy(first, 1))[0]
    await rig.http.post(f"{first.url}/tasks/{old.id}/replace")  # No other agent yet: it waits.
    await rig.stop_framework(first)
    second = await rig.framework(tasks=1)
    other = await rig.agent(number=1)

    def moved() -> bool:
        now = list(second.scheduler.roster.tasks.values())
        return len(now) == 1 and now[0].agent_id == other.id and now[0].is_healthy

    await until(moved, "the task has moved")
    await until(lambda: not agent.tasks.records, "the old agent has forgotten it")


async def test_a_drained_agent_ends_its_tasks_and_is_drained_when_they_are_acknowledged(
    rig: Rig,
) -> None:
    master = (await rig.masters(count=1))[0]
    # Statuses come once: what an agent repeats to a slow framework would count twice.
    agent = await rig.agent(status_update_retry_s=60.0)
    framework = await rig.framework(tasks=2)
    await rig.healthy(framework, 2)
    body = {"agent_id": {"value": agent.id}, "max_grace_period": {"seconds": 3}}
    assert (await rig.call(master, {"type": "DRAIN_AGENT", "drain_agent": body})).status_code == 200

    async def drained() -> bool:
        answer = (await rig.call(master, {"type": "GET_AGENTS"})).json()
        found = answer["get_agents"]["agents"][0]
        return found["drain_info"]["state"] == "DRAINED" and found["deactivated"]

    await until(drained, "the agent is drained")
    log = updates(framework)
    ended = [entry for entry in log if entry["state"] == "TASK_KILLED"]
    assert [entry["reason"] for entry in ended] == ["REASON_AGENT_DRAINING"] * 2
    assert framework.scheduler.roster.tasks == {}  # Nothing is offered any more.


async def test_tasks_outlive_their_agent_and_how_they_ended_meanwhile_is_reported(rig: Rig) -> None:
    await rig.masters(count=1)
    agent = await rig.agent()
    framework = await rig.framework(tasks=2)
    tasks = await rig.healthy(framework, 2)
    await rig.stop_agent(agent)
    assert all(start_time(task.pid) is not None for task in tasks)
    os.kill(tasks[0].pid, signal.SIGTERM)
    await until(lambda: start_time(tasks[0].pid) is None, "the task ended")
    await rig.agent(port=agent.settings.port)
    await until(lambda: framework.scheduler.counts["TASK_FAILED"], "the end is reported")
    now = await rig.healthy(framework, 2)
    assert tasks[1].id in {task.id for task in now}


async def test_an_agent_that_stays_away_is_unreachable_and_may_come_back(rig: Rig) -> None:
    master = (await rig.masters(count=1, agent_ping_timeout_s=0.1, max_agent_ping_timeouts=5))[0]
    agent = await rig.agent()
    framework = await rig.framework(tasks=1)
    before = pids(await rig.healthy(framework, 1))
    await rig.stop_agent(agent)
    await until(lambda: framework.scheduler.counts["TASK_UNREACHABLE"], "the task is unreachable")
    assert master.master.leadership is not None
    assert agent.id in master.master.leadership.cluster.unreachable
    await rig.agent(port=agent.settings.port)
    assert pids(await rig.healthy(framework, 1)) == before


async def test_deactivated_agents_get_no_tasks_and_the_mark_outlives_the_leader(rig: Rig) -> None:
    group = await rig.masters(count=3)
    agents = [await rig.agent(number=number) for number in range(2)]
    await until(lambda: all(a.id for a in agents), "agents are registered")
    body = {"agent_id": {"value": agents[0].id}}
    call = {"type": "DEACTIVATE_AGENT", "deactivate_agent": body}
    assert (await rig.call(group[0], call)).status_code == 200
    await group[0].stop()
    leader = await rig.leader(group)
    await until(lambda: all(a.registered_with == leader.address for a in agents), "they follow")
    framework = await rig.framework(tasks=3)
    tasks = await rig.healthy(framework, 3)
    assert {task.agent_id for task in tasks} == {agents[1].id}


async def test_a_canary_runs_on_the_agent_that_was_named(rig: Rig) -> None:
    await rig.masters(count=1)
    agents = [await rig.agent(number=number) for number in range(2)]
    framework = await rig.framework(tasks=0)
    await until(lambda: all(a.id for a in agents), "agents are registered")
    wanted = {"agent_port": agents[1].settings.port}
    answer = await rig.http.post(f"{framework.url}/canary", json=wanted, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["ok"]
    assert answer.json()["agent_id"] == agents[1].id


async def test_a_canary_tells_whether_its_agent_holds_it_to_its_share(rig: Rig) -> None:
    require_control_groups()
    await rig.masters(count=1)
    held = await rig.agent(isolation="cgroups", number=0)
    free = await rig.agent(number=1)
    framework = await rig.framework(tasks=0)
    await until(lambda: held.id and free.id, "agents are registered")

    async def canary(agent: Agent) -> dict[str, Any]:
        wanted = {"agent_port": agent.settings.port, "limited": True}
        answer = await rig.http.post(f"{framework.url}/canary", json=wanted, timeout=60)
        return answer.json()

    within, without = await canary(held), await canary(free)

    assert (within["ok"], within["states"][-1]) == (True, "TASK_FINISHED")
    assert (without["ok"], without["states"][-1]) == (False, "TASK_FAILED")
