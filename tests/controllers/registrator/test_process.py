"""The process as it is started: it answers probes and scrapes, and ends when it is told to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from clients.marathon import MarathonClient
from tests.controllers.registrator.consul_servers import consul, servers, until_all_say
from tests.local.conftest import rig, zookeeper
from tests.local.rig import Rig
from tests.ports import free_port
from tests.waiting import block_until, until

__all__ = ["consul", "rig", "zookeeper"]

_BOUND_S = 60.0


def start(folder: Path, **settings: Any) -> subprocess.Popen[str]:
    file = folder / "registrator.json"
    file.write_text(json.dumps({"cluster": "main", "marathon": ["127.0.0.1:1"], **settings}))
    return subprocess.Popen(
        [sys.executable, "-m", "controllers.registrator", "--config", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_lives_while_nobody_answers_and_says_so(tmp_path: Path) -> None:
    port = free_port()
    listen = {"listen_host": "127.0.0.1", "listen_port": port}
    process = start(tmp_path, consul=["127.0.0.1:1"], **listen)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:

            def asked() -> httpx.Response | None:
                assert process.poll() is None, process.communicate()
                try:
                    return client.get("/healthz")
                except httpx.TransportError:
                    return None

            assert block_until(asked, "an answer", _BOUND_S).status_code == 200
            assert client.get("/readyz").status_code == 503
            assert "registrator_last_look_timestamp_seconds 0" in client.get("/metrics").text
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=_BOUND_S)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_an_app_of_a_running_marathon_has_its_name(
    rig: Rig, consul: Path, tmp_path: Path
) -> None:
    master = await rig.master(quorum=1)
    await until(lambda: master.master.elected, "a leader", _BOUND_S)
    await rig.agent()
    marathon = await rig.marathon()
    address = marathon.marathon.settings.host_port
    with servers(consul, tmp_path, 1) as (server,):
        process = start(
            tmp_path,
            marathon=[address],
            consul=[server.http],
            listen_host="127.0.0.1",
            listen_port=free_port(),
            confirm_s=0,
        )
        try:
            async with MarathonClient([address], timeout_s=_BOUND_S) as client:
                await until(lambda: marathon.marathon.link.connected_to, "it leads", _BOUND_S)
                definition = {"id": "/shop/web", "cmd": "sleep 600", "instances": 1, "cpus": 0.1}
                await client.create_app({**definition, "mem": 32})
                await until_all_say([server], "web-shop", "127.0.0.1")
                await client.delete_app("/shop/web")
                await until_all_say([server], "web-shop")
        finally:
            process.terminate()
            said, _ = process.communicate(timeout=_BOUND_S)
    assert process.returncode == 0, said


def test_settings_that_cannot_be_are_one_line(tmp_path: Path) -> None:
    process = start(tmp_path, consul=[])
    _, said = process.communicate(timeout=_BOUND_S)

    assert process.returncode == 1
    assert "consul: Tuple should have at least 1 item" in said
    assert len(said.splitlines()) == 1
