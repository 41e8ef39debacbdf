"""Processes as they are started: refusals say what to do, masters die with their session open."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from stacks.local import credential, zookeeper
from stacks.local.errors import ElectionError, StartError
from stacks.local.mesos.agent import check_compatible
from stacks.local.mesos.executor import Process, ending, start_time
from stacks.local.process import guard
from stacks.local.settings import (
    ElectionUrl,
    MasterSettings,
    SettingsError,
    ZooKeeperSettings,
)
from stacks.local.traffic_settings import TrafficSettings
from tests.local.rig import Rig
from tests.ports import free_port
from tests.waiting import until

# Headers that no credential of ours stands in: none at all, and another one.
WRONG: tuple[dict[str, str], ...] = ({}, {"Authorization": credential.header("operator:wrong")})
MODULES = [
    "zookeeper",
    "mesos_master",
    "mesos_agent",
    "framework",
    "traffic",
    "marathon",
    "simulated_agents",
]


def run(module: str, config: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"stacks.local.{module}", "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, **more)


@pytest.mark.parametrize("module", MODULES)
def test_a_wrong_key_is_refused_in_one_line(module: str, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"wrokdir": "/tmp"}')
    ended = run(module, config)
    assert ended.returncode == 1
    assert "wrokdir" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_missing_or_broken_file_is_told_plainly(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="write it first"):
        MasterSettings.read(tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(SettingsError, match="expected JSON"):
        MasterSettings.read(tmp_path / "broken.json")


@pytest.mark.parametrize("url", ["127.0.0.1:1/mesos", "zk://h:1", "zk://u:p@h:1/mesos", "zk:///x"])
def test_an_election_address_is_zk_hosts_and_path_without_password(url: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        ElectionUrl.parse(url)


def zookeeper_settings(folder: Path, **more: Any) -> ZooKeeperSettings:
    ports = [free_port() for _ in range(3)]
    given = {
        "myid": 1,
        "data_dir": folder / "data",
        "client_port": ports[0],
        "quorum_port": ports[1],
        "election_port": ports[2],
        "servers": [
            {"id": n, "quorum_port": ports[1] + n - 1, "election_port": ports[2] + n - 1}
            for n in (1, 2, 3)
        ],
        **more,
    }
    return ZooKeeperSettings.model_validate(given)


def test_a_fresh_server_starts_at_its_epoch_and_one_with_data_does_not(tmp_path: Path) -> None:
    settings = zookeeper_settings(tmp_path, initial_epoch=7)
    zookeeper.prepare(settings)
    epochs = settings.data_dir / "version-2"
    assert (epochs / "acceptedEpoch").read_text() == (epochs / "currentEpoch").read_text() == "7"
    zookeeper.prepare(settings.model_copy(update={"initial_epoch": 9}))
    assert (epochs / "currentEpoch").read_text() == "7"


def test_the_super_digest_stands_in_a_private_file_and_in_no_argument(tmp_path: Path) -> None:
    secret = tmp_path / "super"
    secret.write_text("super:very-secret")
    jars = tmp_path / "jars"
    jars.mkdir()
    (jars / "zookeeper-3.9.4.jar").touch()
    settings = zookeeper_settings(tmp_path, super_digest_file=secret, jars_dir=jars)
    config = zookeeper.prepare(settings)
    assert config.stat().st_mode & 0o777 == 0o600
    assert "superDigest=super:" in config.read_text()
    assert "very-secret" not in config.read_text()
    assert not any("super:" in word for word in zookeeper.command(settings, config))


def test_a_server_has_pools_of_threads_unless_it_is_told_not_to(tmp_path: Path) -> None:
    (tmp_path / "zookeeper-3.9.4.jar").touch()
    settings = zookeeper_settings(tmp_path, jars_dir=tmp_path)
    alone = settings.model_copy(update={"thread_pools": False})
    with_pools, without = (
        set(zookeeper.command(each, tmp_path / "zoo.cfg")) for each in (settings, alone)
    )
    assert without - with_pools == {
        "-Dzookeeper.nio.numWorkerThreads=0",
        "-Dzookeeper.commitProcessor.numWorkerThreads=0",
    }
    assert with_pools < without


def test_a_taken_port_missing_jars_and_no_java_are_told_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = zookeeper_settings(tmp_path, jars_dir=tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", settings.client_port))
        taken.listen()
        with pytest.raises(StartError, match=f"client port {settings.client_port}"):
            zookeeper.check_ports(settings)
    with pytest.raises(StartError, match="make tools"):
        zookeeper.command(settings, tmp_path / "zoo.cfg")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(StartError, match="install a JDK"):
        zookeeper.command(settings, tmp_path / "zoo.cfg")


def test_no_space_is_told_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zookeeper, "_FREE_BYTES_MIN", 1 << 60)
    with pytest.raises(StartError, match="make space"):
        zookeeper.prepare(zookeeper_settings(tmp_path))


def test_the_data_of_another_server_is_refused(tmp_path: Path) -> None:
    settings = zookeeper_settings(tmp_path)
    zookeeper.prepare(settings)
    (settings.data_dir / "myid").write_text("2")
    with pytest.raises(StartError, match="data of server 1"):
        zookeeper.prepare(settings)


def info(**changes: Any) -> dict[str, Any]:
    attribute = {"name": "rack", "text": {"value": changes.pop("rack", "r1")}}
    cpus = {"name": "cpus", "scalar": {"value": changes.pop("cpus", 4.0)}}
    more = changes.pop("more", [])
    return {
        "hostname": "h", "port": 5051, "attributes": [attribute, *more], "resources": [cpus],
        **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    "changes", [{"hostname": "other"}, {"port": 1}, {"rack": "r2"}, {"cpus": 2.0}]
)
def test_an_agent_with_another_identity_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(StartError, match="Incompatible agent info"):
        check_compatible(info(), info(**changes), "/folder")


def test_an_agent_may_gain_resources_and_attributes() -> None:
    zone = {"name": "zone", "text": {"value": "z"}}
    check_compatible(info(), info(cpus=8.0, more=[zone]), "/folder")


@pytest.mark.parametrize(
    ("code", "killed", "state"),
    [
        (0, False, "TASK_FINISHED"),
        (3, False, "TASK_FAILED"),
        (137, False, "TASK_FAILED"),
        (None, False, "TASK_FAILED"),
        (143, True, "TASK_KILLED"),
        (None, True, "TASK_KILLED"),
    ],
)
def test_how_a_task_ended(code: int | None, killed: bool, state: str) -> None:
    assert ending(code, killed=killed)[0] == state


def test_a_process_is_known_by_its_start_time_too() -> None:
    started = start_time(os.getpid())
    assert started is not None
    assert Process(os.getpid(), started).is_alive
    assert not Process(os.getpid(), started + 1).is_alive


async def test_a_broken_loop_fails_its_whole_process() -> None:
    async def work(error: Exception) -> None:
        raise error

    told: list[str] = []
    await guard(work(ElectionError("no such path")), told.append, "agent")
    await guard(work(KeyError("x")), told.append, "agent")

    assert told == ["no such path", "the agent's own work failed: KeyError('x')"]


def test_a_zombie_has_no_start_time() -> None:
    child = subprocess.Popen(["/bin/true"])
    try:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert start_time(child.pid) is None
    finally:
        child.wait()
    assert start_time(2**22 + 1) is None


async def test_cleaning_up_ends_the_tasks_of_a_work_folder(rig: Rig) -> None:
    await rig.masters(count=1)
    agent = await rig.agent()
    framework = await rig.framework(tasks=2)
    tasks = await rig.healthy(framework, 2)
    await rig.stop_framework(framework)
    await rig.stop_agent(agent)
    folder = agent.settings.work_dir
    command = [
        sys.executable,
        "-m",
        "stacks.local.mesos_agent",
        "cleanup",
        "--work-dir",
        str(folder),
    ]
    ended = await asyncio.to_thread(subprocess.check_output, command)
    assert set(json.loads(ended)["ended"]) == {task.pid for task in tasks}
    assert all(start_time(task.pid) is None for task in tasks)


async def test_a_master_that_is_asked_to_end_leaves_its_session_to_expire(
    rig: Rig, tmp_path: Path
) -> None:
    port = free_port()
    config = tmp_path / "master.json"
    settings = {
        "port": port,
        "zk": rig.zk("blue"),
        "zk_session_timeout_s": 2,
        "work_dir": str(tmp_path / "master"),
        "engine": "stand-in",
    }
    config.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "stacks.local.mesos_master", "--config", str(config)]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)  # noqa: ASYNC220 - starting is quick
    try:

        async def leads() -> bool:
            try:
                answer = await rig.http.get(f"http://127.0.0.1:{port}/state")
            except httpx.TransportError:
                return False
            return answer.status_code == 200

        await until(leads, "the master leads")
        assert "stand-in" in log.read_text().splitlines()[0]
        second = await rig.master("blue", 1)
        await until(lambda: second.master.leader, "the second knows the first")
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()
    await until(lambda: second.master.elected, "the second leads")
    assert time.monotonic() - started > 1


async def test_the_operator_api_wants_the_credential_and_health_does_not(
    rig: Rig, tmp_path: Path
) -> None:
    secret = tmp_path / "credential"
    secret.write_text("operator:secret")
    master = (await rig.masters(count=1, credential_file=secret))[0]
    base = f"http://{master.address}"
    call = {"type": "GET_HEALTH"}
    refused = await rig.http.post(f"{base}/api/v1", json=call)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == 'Basic realm="mesos-master-readwrite"'
    refused = await rig.http.get(f"{base}/metrics/snapshot")
    assert refused.headers["www-authenticate"] == 'Basic realm="mesos-master-readonly"'
    for auth, status in ((("operator", "wrong"), 401), (("operator", "secret"), 200)):
        assert (await rig.http.post(f"{base}/api/v1", json=call, auth=auth)).status_code == status
    assert (await rig.http.get(f"{base}/health")).status_code == 200
    framework = await rig.framework(tasks=0)
    await until(lambda: framework.scheduler.link.connected_to, "schedulers need none")


async def test_the_scheduler_api_wants_the_credential_where_it_is_told_to(
    rig: Rig, tmp_path: Path
) -> None:
    secret = tmp_path / "credential"
    secret.write_text("operator:secret")
    master = (
        await rig.masters(count=1, credential_file=secret, authenticate_http_frameworks=True)
    )[0]
    info = {"user": "root", "name": "stranger", "roles": ["*"]}
    subscribe = {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}
    for headers in WRONG:
        refused = await rig.http.post(
            f"http://{master.address}/api/v1/scheduler", json=subscribe, headers=headers
        )
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == 'Basic realm="mesos-master-scheduler"'
    await rig.agent()

    framework = await rig.framework(tasks=1, credential_file=secret)

    await rig.healthy(framework, 1)


@pytest.mark.parametrize("path", ["canary", "tasks/any/replace"])
async def test_whoever_moves_tasks_of_the_framework_needs_its_credential(
    rig: Rig, tmp_path: Path, path: str
) -> None:
    secret = tmp_path / "credential"
    secret.write_text("operator:secret")
    framework = await rig.framework(tasks=0, credential_file=secret)
    url = f"{framework.url}/{path}"
    for headers in WRONG:
        refused = await rig.http.post(url, json={"timeout_s": 0.1}, headers=headers)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == 'Basic realm="sample-framework"'

    allowed = await rig.http.post(url, json={"timeout_s": 0.1}, auth=("operator", "secret"))

    assert allowed.status_code in {404, 504}  # No such task; no agent to run a canary on.
    assert (await rig.http.get(f"{framework.url}/state")).status_code == 200


def test_what_stands_still_is_not_started(tmp_path: Path) -> None:
    config = tmp_path / "traffic.json"
    settings = TrafficSettings(listen="127.0.0.1:1", work_dir=tmp_path, hosts=None)
    config.write_text(settings.model_dump_json())
    ended = run("traffic", config)
    assert ended.returncode == 1
    assert "stands still" in ended.stderr
