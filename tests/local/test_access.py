"""Credentials and ACLs: rules on values, and what a master answers."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from components.mesos.access import MARATHON, SAMPLE, Framework
from components.mesos.access import Access as Declared
from stacks.local.errors import StartError
from stacks.local.mesos.access import Access, read_access
from stacks.local.mesos.simulated import make_agent
from stacks.local.mesos.streams import Stream
from stacks.local.settings import MasterSettings
from stacks.local.simulated_settings import SimulatedAgentsSettings
from tests.local.alone import leading_alone
from tests.local.leading import Leading, read
from tests.local.rig import Rig, free_port, until

ACLS: dict[str, Any] = {
    "permissive": False,
    # Else no agent may register, as with a real master.
    "register_agents": [{"principals": {"type": "ANY"}, "agents": {"type": "ANY"}}],
    "view_frameworks": [{"principals": {"values": ["ops"]}, "users": {"type": "ANY"}}],
    "view_tasks": [{"principals": {"values": ["ops"]}, "users": {"type": "ANY"}}],
    "update_quotas": [
        {"principals": {"values": ["ops"]}, "roles": {"values": ["dev", "dev/%"]}},
        {"principals": {"values": ["ops"]}, "roles": {"type": "NONE"}},
    ],
    "start_maintenances": [{"principals": {"values": ["ops"]}, "machines": {"type": "ANY"}}],
    "stop_maintenances": [{"principals": {"values": ["ops"]}, "machines": {"type": "ANY"}}],
    "update_maintenance_schedules": [
        {"principals": {"values": ["ops"]}, "machines": {"type": "ANY"}}
    ],
    "get_endpoints": [
        {"principals": {"values": ["ops"]}, "paths": {"values": ["/metrics/snapshot"]}}
    ],
    "register_frameworks": [{"principals": {"type": "ANY"}, "roles": {"values": ["*"]}}],
    "run_tasks": [{"principals": {"type": "ANY"}, "users": {"type": "ANY"}}],
}


def test_the_first_rule_that_matches_decides() -> None:
    access = Access({"ops": "x"}, ACLS)
    assert access.allows("update_quotas", "ops", "dev")
    assert access.allows("update_quotas", "ops", "dev/team")
    assert not access.allows("update_quotas", "ops", "web")
    assert not access.allows("update_quotas", "guest", "dev")
    assert not access.allows("drain_agents", "ops")
    assert Access(None, {}).allows("drain_agents", None)


def test_who_somebody_is_stands_in_the_header() -> None:
    access = Access({"ops": "se:cret"})

    def header(text: str) -> str:
        return "Basic " + base64.b64encode(text.encode()).decode()

    assert access.principal(header("ops:se:cret")) == "ops"
    for wrong in (None, "Bearer x", "Basic %%", header("ops:wrong"), header("nobody:x")):
        assert access.principal(wrong) is None


def test_a_misspelt_action_is_told_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "acls.json"
    file.write_text('{"veiw_frameworks": []}')
    settings = MasterSettings.model_validate(
        {"port": 1, "zk": "zk://h:1/mesos", "work_dir": tmp_path, "acls_file": file}
    )
    with pytest.raises(StartError, match="veiw_frameworks"):
        read_access(settings)


async def test_a_master_refuses_hides_and_lets_through_by_its_rules(
    rig: Rig, tmp_path: Path
) -> None:
    credentials, acls = tmp_path / "credentials.json", tmp_path / "acls.json"
    known = [{"principal": name, "secret": "secret"} for name in ("ops", "guest")]
    credentials.write_text(json.dumps({"credentials": known}))
    acls.write_text(json.dumps(ACLS))
    given: dict[str, Any] = {
        "credentials_file": credentials,
        "acls_file": acls,
        "zk_session_timeout_s": 10,
    }
    master = (await rig.masters(count=1, **given))[0]
    agent = await rig.agent(hostname="h1", zk_session_timeout_s=10)
    framework = await rig.framework(tasks=1)
    await rig.healthy(framework, 1)
    base = f"http://{master.address}"

    async def call(who: str | None, kind: str, **body: Any) -> Any:
        auth = httpx.BasicAuth(who, "secret") if who is not None else None
        content = {"type": kind, kind.lower(): body} if body else {"type": kind}
        return await rig.http.send(
            rig.http.build_request("POST", f"{base}/api/v1", json=content), auth=auth
        )

    assert (await call(None, "GET_TASKS")).status_code == 401
    for who, count in (("ops", 1), ("guest", 0)):
        answer = await call(who, "GET_TASKS")
        assert answer.status_code == 200
        assert len(answer.json()["get_tasks"]["tasks"]) == count
        state = await rig.http.get(f"{base}/state", auth=(who, "secret"))
        assert len(state.json()["frameworks"]) == count
        metrics = await rig.http.get(f"{base}/metrics/snapshot", auth=(who, "secret"))
        assert metrics.status_code == (200 if count else 403)
    config = {"quota_configs": [{"role": "dev", "limits": {"cpus": {"value": 9}}}]}
    assert (await call("guest", "UPDATE_QUOTA", **config)).status_code == 403
    assert (await call("ops", "UPDATE_QUOTA", **config)).status_code == 200
    assert (await call("ops", "DRAIN_AGENT", agent_id={"value": agent.id})).status_code == 403
    refused = await rig.http.post(
        f"{base}/api/v1/scheduler",
        json={"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": "x", "name": "x",
              "roles": ["web"]}}},
    )  # fmt: skip
    assert (refused.status_code, refused.text) == (403, "Not authorized to use role 'web'")


async def test_frameworks_of_our_own_run_tasks_and_reach_neither_the_cluster_nor_each_other(
    rig: Rig, tmp_path: Path
) -> None:
    files = {name: tmp_path / name for name in ("operator", "marathon", "sample")}
    for name, file in files.items():
        file.write_text(f"{name}:secret")
        file.chmod(0o600)
    own = (Framework(SAMPLE), Framework(MARATHON))
    patient: dict[str, Any] = {"zk_session_timeout_s": 10}
    (master,) = await rig.masters(
        count=1,
        credential_file=files["operator"],
        principal_files=[files["marathon"], files["sample"]],
        acls=Declared(frameworks=own).acls(),
        authenticate_http_frameworks=True,
        **patient,
    )
    await rig.agent(**patient)
    framework = await rig.framework(tasks=1, credential_file=files["sample"], **patient)
    await rig.healthy(framework, 1)
    marathon = await rig.leading(credential_file=files["marathon"], **patient)
    await marathon.change("POST", "/v2/apps", {"id": "/a", "cmd": "sleep 99", "mem": 32})
    (task,) = await marathon.running("/a", 1)

    base = f"http://{master.address}"
    assert master.master.leadership is not None
    seen = master.master.leadership.cluster.frameworks
    assert {one.info["principal"] for one in seen.values()} == {"marathon", "sample"}
    of_marathon = marathon.marathon.state.framework_id or ""

    async def call(who: str, path: str, kind: str, body: Any, **more: Any) -> httpx.Response:
        content = {"type": kind, kind.lower(): body, **more}
        headers = {"Mesos-Stream-Id": seen[of_marathon].stream_id or ""}
        auth = httpx.BasicAuth(who, "secret")
        return await rig.http.post(f"{base}{path}", json=content, headers=headers, auth=auth)

    quota = {"quota_configs": [{"role": "dev", "limits": {"cpus": {"value": 9}}}]}
    agent_id = {"value": task["slaveId"]}
    for who in ("marathon", "sample"):
        assert (await call(who, "/api/v1", "GET_TASKS", {})).json()["get_tasks"]["tasks"] == []
        assert (await call(who, "/api/v1", "UPDATE_QUOTA", quota)).status_code == 403
        drain = {"agent_id": agent_id}
        assert (await call(who, "/api/v1", "DRAIN_AGENT", drain)).status_code == 403
        metrics = await rig.http.get(f"{base}/metrics/snapshot", auth=(who, "secret"))
        assert metrics.status_code == 403
    assert (await call("operator", "/api/v1", "UPDATE_QUOTA", quota)).status_code == 200

    # Whoever has the sample framework's credential cannot be Marathon, nor end its tasks.
    scheduler, one = "/api/v1/scheduler", {"value": of_marathon}
    kill = {"task_id": {"value": task["id"]}}
    refused = await call("sample", scheduler, "KILL", kill, framework_id=one)
    assert refused.status_code == 400
    assert "'sample' does not match principal 'marathon'" in refused.text
    info = {"user": "root", "name": "marathon", "roles": ["*"], "id": one}
    taken = await call("sample", scheduler, "SUBSCRIBE", {"framework_info": info}, framework_id=one)
    assert (taken.status_code, taken.text) == (
        403,
        "Changing framework's principal is not allowed.",
    )
    other = {"user": "root", "name": "web", "roles": ["web"]}
    refused = await call("sample", scheduler, "SUBSCRIBE", {"framework_info": other})
    assert (refused.status_code, refused.text) == (403, "Not authorized to use role 'web'")
    assert [one["id"] for one in await marathon.running("/a", 1)] == [task["id"]]


async def test_an_agent_without_the_credential_ends_and_one_that_may_not_register_is_shut_down(
    tmp_path: Path,
) -> None:
    credentials, acls = tmp_path / "credentials.json", tmp_path / "acls.json"
    known = [{"principal": name, "secret": "secret"} for name in ("agents", "guest")]
    credentials.write_text(json.dumps({"credentials": known}))
    rules = [
        {"principals": {"values": ["agents"]}, "agents": {"type": "ANY"}},
        {"principals": {"type": "NONE"}, "agents": {"type": "ANY"}},
    ]
    acls.write_text(json.dumps({"register_agents": rules}))
    settings = SimulatedAgentsSettings(listen="h:1", master="zk://h:1/m", agents=1)
    given = {"credentials_file": credentials, "acls_file": acls, "authenticate_agents": True}
    seen: dict[str | None, list[str]] = {}
    async with leading_alone(tmp_path, **given) as alone:
        for number, secret in enumerate((None, "agents:wrong", "guest:secret", "agents:secret")):
            found = seen.setdefault(secret, [])
            agent = make_agent(settings, number, found.append)
            async with alone.followed_by([agent], credential=secret):
                await until(
                    lambda a=agent, f=found: a.registered_with or f, "it is in or out", 60.0
                )
        agents = alone.leadership.cluster.agents.values()
        assert [agent.info["hostname"] for agent in agents] == ["simulated-3"]
    assert "refused authentication" in seen[None][0]
    assert "refused authentication" in seen["agents:wrong"][0]
    assert "Not authorized to register as an agent" in seen["guest:secret"][0]
    assert seen["agents:secret"] == []


def shown_of(pid: int) -> bytes:
    """What others may read of a process."""
    return b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))


async def test_an_agent_process_with_a_wrong_secret_is_refused_and_the_secret_is_told_nobody(
    rig: Rig, tmp_path: Path
) -> None:
    operator, agents, wrong = (tmp_path / name for name in ("operator", "agents", "wrong"))
    for file, text in ((operator, "operator:one"), (agents, "agent:word-two"), (wrong, "agent:no")):
        file.write_text(text)
    (master,) = await rig.masters(
        count=1,
        zk_session_timeout_s=30,
        credential_file=operator,
        principal_files=[agents],
        acls=Declared(asks_agents=True).acls(),
        authenticate_agents=True,
        authenticate_http_frameworks=True,
    )
    given = {"port": free_port(), "master": rig.zk("blue"), "work_dir": str(tmp_path / "agent")}
    config = tmp_path / "agent.json"

    async def start(secret: Path) -> asyncio.subprocess.Process:
        config.write_text(json.dumps({**given, "credential_file": str(secret)}))
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "stacks.local.mesos_agent", "--config", str(config)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )

    refused = await start(wrong)
    async with asyncio.timeout(60):
        _, told = await refused.communicate()
    assert refused.returncode == 1
    assert f"Master {master.address} refused authentication: give this agent" in told.decode()
    assert "agent:no" not in told.decode()

    right = await start(agents)
    try:
        url = f"http://{master.address}/api/v1"

        async def ask(who: tuple[str, str], kind: str) -> httpx.Response:
            return await rig.http.post(url, json={"type": kind}, auth=who)

        async def registered() -> bool:
            answer = await ask(("operator", "one"), "GET_AGENTS")
            return bool(answer.json()["get_agents"].get("agents"))

        await until(registered, "the agent with the right secret is registered", 60)
        assert b"word-two" not in shown_of(right.pid)
        # What lies on each agent is no operator's credential.
        state = await ask(("agent", "word-two"), "GET_FLAGS")
        assert state.status_code == 403
        call = {"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": [
            {"role": "dev", "weight": 2.0}]}}  # fmt: skip
        for who, status in (("agent", "word-two"), 403), (("operator", "one"), 200):
            assert (await rig.http.post(url, json=call, auth=who)).status_code == status
    finally:
        right.kill()
        await right.wait()


async def test_events_of_a_framework_go_to_those_who_may_see_it() -> None:
    rules = {"view_tasks": [{"principals": {"values": ["ops"]}, "users": {"values": ["root"]}}]}
    access = Access(None, {"permissive": False, "view_frameworks": [
        {"principals": {"type": "ANY"}, "users": {"values": ["root"]}}], **rules})  # fmt: skip
    leading = Leading()
    streams = {name: Stream() for name in ("ops", "guest")}
    for name, stream in streams.items():
        leading.cluster.subscribers.add(
            stream, lambda action, user, name=name: access.allows(action, name, user)
        )
    await leading.agent()
    framework = leading.framework()
    leading.framework(user="hidden")
    await leading.update(framework, await leading.launch(framework, "t"), "TASK_RUNNING")
    kinds = {name: [event["type"] for event in read(stream)] for name, stream in streams.items()}
    assert kinds["guest"] == ["AGENT_ADDED", "FRAMEWORK_ADDED"]
    assert kinds["ops"] == ["AGENT_ADDED", "FRAMEWORK_ADDED", "TASK_ADDED", "TASK_UPDATED"]


async def test_machines_go_down_and_up_through_the_older_endpoints(rig: Rig) -> None:
    master = (await rig.masters(count=1, zk_session_timeout_s=10))[0]
    failures: list[str] = []
    agent = await rig.agent(hostname="h1", zk_session_timeout_s=10, fail=failures.append)
    await until(lambda: agent.registered_with, "the agent is registered")
    base, machine = f"http://{master.address}", {"hostname": "H1", "ip": "127.0.0.1"}
    window = {"machine_ids": [machine], "unavailability": {"start": {"nanoseconds": 1}}}
    refused = await rig.http.post(f"{base}/machine/down", json=[machine])
    assert refused.status_code == 400
    assert "is not part of a maintenance schedule" in refused.text
    for path, body in (
        ("/maintenance/schedule", {"windows": [window]}),
        ("/machine/down", [machine]),
    ):
        answer = await rig.http.post(f"{base}{path}", json=body)
        assert (answer.status_code, answer.text) == (200, "")
    await until(lambda: failures, "the agent is shut down")
    status = (await rig.http.get(f"{base}/maintenance/status")).json()
    assert status == {"down_machines": [machine]}
    assert (await rig.http.get(f"{base}/slaves")).json()["slaves"] == []
    assert (await rig.http.post(f"{base}/machine/up", json=[machine])).status_code == 200
    assert (await rig.http.get(f"{base}/maintenance/schedule")).json() == {}
