"""Apps, groups, roll-outs and an autoscaler's app with the real engine, on a running Marathon."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from clients.marathon import MarathonClient
from tests.local.engine import Project
from tests.local.rig import Rig, RunningMarathon, free_port
from tests.waiting import until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]
PATIENT: dict[str, Any] = {"zk_session_timeout_s": 30}
BOUND_S = 60.0
APPS = {"/clock": 2, "/shop/store": 1, "/shop/front/page": 1}

APP = """
import pulumi
from components.marathon.app import AppArgs, MarathonApp
from components.marathon.endpoint import MarathonEndpoint

config = pulumi.Config()
endpoint = MarathonEndpoint("test", config.require_object("marathon"))
args = AppArgs(config.require_object("app"), timeout_s=config.require_float("timeout"))
MarathonApp("app", args, endpoint)
"""


async def leading(rig: Rig) -> RunningMarathon:
    await rig.masters(count=1, **PATIENT)
    await rig.agent(**PATIENT)
    return await rig.leading(**PATIENT)


def client_of(marathon: RunningMarathon) -> MarathonClient:
    return MarathonClient([marathon.marathon.settings.host_port], timeout_s=BOUND_S)


async def counts(client: MarathonClient) -> dict[str, int]:
    return {app.id: app.running for app in await client.apps()}


@pytest.mark.long
async def test_apps_are_made_mended_rolled_out_and_taken_back(rig: Rig, tmp_path: Path) -> None:
    marathon = await leading(rig)
    here = [marathon.marathon.settings.host_port]
    project = Project(tmp_path, example="apps")
    nobody = [f"127.0.0.1:{free_port()}"]
    await project.start(marathon=nobody)
    async with client_of(marathon) as client:
        # Nobody is asked in a preview.
        assert "+ 4 to create" in await project.pulumi("preview")
        assert await client.apps() == ()

        project.configure(marathon=here)
        await project.up()
        assert await counts(client) == {**APPS, "/web-a": 2}
        tasks = {task.id for task in await client.tasks()}
        await project.assert_unchanged()
        assert await project.refresh() == {}
        assert {task.id for task in await client.tasks()} == tasks

        # What was changed by hand is seen by a refresh, only that, and mended.
        await client.update_app("/clock", {"cpus": 0.2, "labels": {"by": "hand"}})
        await client.scale_app("/shop/store", 2)
        await client.scale_app("/web-a", 3)
        await marathon.settled()
        seen = await project.refresh()
        assert set(seen) == {"clock", "shop", "web"}
        assert "cpus: 0.2" in seen["clock"]
        assert "labels" not in seen["clock"], "what was not declared is Marathon's own"
        assert "/shop/store" in seen["shop"]
        assert "/shop/front/page" not in seen["shop"]
        assert "instances: 2 => 3" in seen["web"]
        told = await project.pulumi("up", "--yes", "--refresh", "--skip-preview")
        assert "~ 3 updated" in told
        assert await counts(client) == {**APPS, "/web-a": 2}

        # Another version takes the place of the first, and the rest is left alone.
        project.configure(version="2")
        assert "~ 1 updated" in await project.up()
        assert await counts(client) == {**APPS, "/web-b": 2}
        web = await client.app("/web-b")
        assert web is not None
        assert web.definition["env"] == {"VERSION": "2"}

        # A move of the endpoint is written down, and nobody is called.
        project.configure(marathon=nobody)
        assert "~ 3 updated" in await project.up()
        project.configure(marathon=here)
        await project.up()

        await project.destroy()
        assert await client.apps() == ()
        assert await client.group("/shop") is None
        assert await client.tasks() == ()


class Busy:
    """A Prometheus that tells one number."""

    def __init__(self) -> None:
        self.value = 100.0
        self.port = free_port()

    async def serve(self) -> asyncio.Server:
        return await asyncio.start_server(self._answer, "127.0.0.1", self.port)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        result: list[Any] = [{"metric": {}, "value": [0, str(self.value)]}]
        body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write((head + body).encode())
        await writer.drain()
        writer.close()


@pytest.mark.long
async def test_instances_are_the_autoscalers_and_updates_leave_them(
    rig: Rig, tmp_path: Path
) -> None:
    marathon = await leading(rig)
    busy = Busy()
    project = Project(tmp_path, example="autoscaler")
    here = [marathon.marathon.settings.host_port]
    port = free_port()
    prometheus = f"http://127.0.0.1:{busy.port}"
    await project.start(marathon=here, prometheus=prometheus, statusPort=port)
    async with client_of(marathon) as client, await busy.serve():
        await project.up()
        assert await counts(client) == {"/busy": 2}
        settings = tmp_path / "autoscaler.json"
        settings.write_text(await project.pulumi("stack", "output", "autoscaler", "--json"))
        log = tmp_path / "autoscaler.log"
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "controllers.autoscaler", "--config", str(settings)),
                stdout=out,
                stderr=out,
            )
        try:
            busy.value = 160.0

            async def grown() -> bool:
                return await counts(client) == {"/busy": 4}

            await until(grown, "the app has grown", BOUND_S)
            async with httpx.AsyncClient(trust_env=False) as asking:
                told = (await asking.get(f"http://127.0.0.1:{port}/status")).json()
            reasons = [one["reason"] for one in told["apps"]["/busy"]["decisions"]]
            assert any("160 of 100 an instance" in reason for reason in reasons)
            busy.value = 100.0
        finally:
            process.terminate()
            assert await process.wait() == 0, log.read_text()
        assert "160 of 100 an instance" in log.read_text()
        await marathon.settled()

        # Neither an update nor a refresh takes them back; another field changes without them.
        await project.assert_unchanged()
        assert await project.refresh() == {}
        await client.update_app("/busy", {"mem": 64})
        await marathon.settled()
        assert "mem: 64" in (await project.refresh())["busy"]
        await project.pulumi("up", "--yes", "--refresh", "--skip-preview")
        app = await client.app("/busy")
        assert app is not None
        assert (app.instances, app.definition["mem"]) == (4, 32)

        await project.destroy()
        assert await client.apps() == ()


FITTING = {"id": "/app", "cmd": "exec sleep 1000000", "cpus": 0.1, "mem": 32}
NOWHERE = {**FITTING, "constraints": [["rack", "LIKE", "none"]]}


async def assert_refused(project: Project, client: MarathonClient) -> None:
    """An update tells what waits for offers, and why, and leaves no deployment."""
    told = await project.up(refused=True)
    assert "expected /app to be deployed within 30 s, saw deployment" in told
    assert "; it was rolled back. /app waits for 1: UnfulfilledConstraint" in told
    assert "Traceback" not in told
    assert await client.deployments() == ()
    assert await client.queue() == ()


@pytest.mark.long
async def test_an_app_that_no_agent_suits_is_taken_back_and_tells_why(
    rig: Rig, tmp_path: Path
) -> None:
    marathon = await leading(rig)
    project = Project(tmp_path, program=APP)
    here = [marathon.marathon.settings.host_port]
    await project.start(marathon=here, app=NOWHERE, timeout=30)
    async with client_of(marathon) as client:
        await assert_refused(project, client)
        assert await client.apps() == ()
        await project.destroy()


@pytest.mark.long
async def test_a_change_that_no_agent_suits_is_taken_back_and_tells_why(
    rig: Rig, tmp_path: Path
) -> None:
    marathon = await leading(rig)
    project = Project(tmp_path, program=APP)
    here = [marathon.marathon.settings.host_port]
    await project.start(marathon=here, app=FITTING, timeout=240)
    async with client_of(marathon) as client:
        await project.up()
        project.configure(app=NOWHERE, timeout=30)
        await assert_refused(project, client)
        (app,) = await client.apps()
        assert (app.definition.get("constraints", []), app.running) == ([], 1)
        assert await project.refresh() == {}
        await project.destroy()
        assert await client.apps() == ()
