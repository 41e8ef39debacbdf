"""Mesos-DNS before masters that ask who reads their state: its principal, and itself."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest

from clients.dns import resolve
from clients.errors import DnsError
from components.mesos.access import MARATHON, MESOS_DNS, OPERATOR, Access, Framework
from components.network.discovery import DiscoveryArgs, mesos_dns_config
from components.network.mesos_dns import Instance, script
from components.workload import Program
from tests.leaving import leave_out
from tests.local.rig import Rig, RunningMarathon, RunningMaster
from tests.ports import free_port
from tests.waiting import until
from tools import cache
from tools.kubernetes_recipes import MESOS_DNS as RECIPE

SLOW: dict[str, Any] = {"zk_session_timeout_s": 10}
HOST = "127.0.0.1"
ZONE = "names"
_BOUND_S = 60.0
_STOP_S = 10.0


@pytest.fixture(scope="session")
def program() -> Path:
    """The real one; left out where it was not built, which CI takes for a failure."""
    found = cache.root() / RECIPE.key() / "mesos-dns"
    if not found.exists():
        leave_out(f"expected {found}: run `make tools-kubernetes`")
    return found


def secret_file(folder: Path, principal: str) -> Path:
    file = folder / f"principal-{principal}"
    file.write_text(f"{principal}:secret of {principal}\n")
    file.chmod(0o600)
    return file


async def started(rig: Rig, folder: Path) -> tuple[RunningMaster, RunningMarathon]:
    """A cluster with an app of two instances, whose masters know what components declare."""
    access = Access(frameworks=(Framework(MARATHON),), has_mesos_dns=True)
    files = {name: secret_file(folder, name) for name in (OPERATOR, MARATHON, MESOS_DNS)}
    (master,) = await rig.masters(
        count=1,
        credential_file=files[OPERATOR],
        principal_files=[files[MESOS_DNS], files[MARATHON]],
        acls=access.acls(),
        authenticate_http_frameworks=True,
        **SLOW,
    )
    await rig.agent(**SLOW)
    marathon = await rig.leading(credential_file=files[MARATHON], **SLOW)
    app = {"id": "/shop/web", "cmd": "exec sleep 600", "instances": 2, "cpus": 0.1, "mem": 32}
    await marathon.change("POST", "/v2/apps", app)
    await marathon.running("/shop/web", 2)
    return master, marathon


async def test_masters_show_it_what_names_are_made_of_and_nothing_else(
    rig: Rig, tmp_path: Path
) -> None:
    master, _ = await started(rig, tmp_path)
    auth = (MESOS_DNS, f"secret of {MESOS_DNS}")

    async def call(kind: str, **body: Any) -> httpx.Response:
        return await rig.http.post(
            f"http://{master.address}/api/v1", auth=auth, json={"type": kind, **body}
        )

    for path in ("/state", "/master/state"):
        url = f"http://{master.address}{path}"
        assert (await rig.http.get(url)).status_code == 401
        assert (await rig.http.get(url, auth=(MESOS_DNS, "wrong"))).status_code == 401
        answer = await rig.http.get(url, auth=auth)
        assert answer.status_code == 200
        state = answer.json()
        assert len(state["slaves"]) == 1
        (framework,) = state["frameworks"]
        assert [task["name"] for task in framework["tasks"]] == ["web.shop", "web.shop"]
    config = {"quota_configs": [{"role": "dev", "limits": {"cpus": {"value": 9}}}]}
    assert (await call("UPDATE_QUOTA", update_quota=config)).status_code == 403
    agent = {"agent_id": {"value": state["slaves"][0]["id"]}}
    assert (await call("DRAIN_AGENT", drain_agent=agent)).status_code == 403
    framework_info = {"user": "nobody", "name": "x", "roles": ["*"]}
    subscribing = {"type": "SUBSCRIBE", "subscribe": {"framework_info": framework_info}}
    refused = await rig.http.post(
        f"http://{master.address}/api/v1/scheduler", auth=auth, json=subscribing
    )
    assert refused.status_code == 403


@pytest.mark.timeout(300)
async def test_names_of_the_leader_and_of_an_app_have_their_addresses(
    rig: Rig, program: Path, tmp_path: Path
) -> None:
    await started(rig, tmp_path)
    port = free_port()
    config = mesos_dns_config(
        zookeeper=rig.zk("blue"),
        listener=HOST,
        port=port,
        http_port=free_port(),
        args=DiscoveryArgs(Program(("mesos-dns",)), zone=ZONE, ttl_s=1, refresh_s=1),
    )
    private = tmp_path / "private"
    secret = tmp_path / f"principal-{MESOS_DNS}"
    rendered = tmp_path / "mesos-dns.sh"
    rendered.write_text(script(Instance(config, str(secret), str(private), str(program))))
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec("sh", str(rendered), stdout=log, stderr=log)
    try:

        async def says(name: str) -> set[str] | None:
            assert process.returncode is None, (tmp_path / "log").read_text()
            try:
                found = await asyncio.to_thread(resolve, name, f"{HOST}:{port}", timeout_s=1)
            except DnsError:
                return None
            return set(found)

        async def has_an_address(name: str) -> bool:
            return await says(name) == {HOST}

        for name in (f"leader.{ZONE}", f"web-shop.marathon.{ZONE}"):
            await until(lambda name=name: has_an_address(name), f"{name} has it", _BOUND_S)
        assert await says(f"gone.marathon.{ZONE}") == set()
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), _STOP_S)
    file = private / "mesos-dns.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["mesosCredentials"]["principal"] == MESOS_DNS
    assert f"secret of {MESOS_DNS}" not in (tmp_path / "log").read_text()
