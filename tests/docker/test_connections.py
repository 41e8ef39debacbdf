"""Who talks to whom among containers of a real engine, through its translation of addresses too."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.docker.engine import GATEWAY, DockerEngine
from tests.waiting import block_until

pytestmark = pytest.mark.timeout(600)

BOUND_S = 180.0
PORT, PUBLISHED = 7000, 17000
_LOOK_S = 120.0
Nodes = Mapping[str, Mapping[str, Any]]


def look(engine: DockerEngine, folder: Path) -> Mapping[str, Nodes]:
    """What a probe sees that runs beside the engine, in one look."""
    file = folder / "probe.json"
    file.write_text(
        json.dumps(
            {
                "host": "node",
                "collectors": ["host", "container", "process", "connections"],
                "docker_host": engine.address,
            }
        )
    )
    command = (sys.executable, "-m", "probe.cli", "agent", "once", "--json", "--settings")
    done = subprocess.run(
        engine.enter(*command, str(file)), stdout=subprocess.PIPE, check=True, timeout=_LOOK_S
    )
    return json.loads(done.stdout)


def find(
    engine: DockerEngine, folder: Path, wanted: Callable[[Mapping[str, Any]], bool]
) -> tuple[Mapping[str, Any], Mapping[str, Nodes]]:
    """The connection that is wanted, and the report that has it."""

    def found() -> tuple[Mapping[str, Any], Mapping[str, Nodes]] | None:
        report = look(engine, folder)
        edges = [one for one in report.get("connection", {}).values() if wanted(one)]
        return (edges[0], report) if edges else None

    return block_until(found, "the connection is told of", BOUND_S)


@pytest.fixture
def server(engine: DockerEngine) -> str:
    """A container that listens: who dials before it does is refused, once and for all."""
    published = {"PortBindings": {f"{PORT}/tcp": [{"HostPort": str(PUBLISHED)}]}}
    words = ("nc", "-ll", "-p", str(PORT), "-e", "cat")
    id_ = engine.run("server", *words, ExposedPorts={f"{PORT}/tcp": {}}, HostConfig=published)
    pid = engine.inspect(id_)["State"]["Pid"]
    tables = [Path(f"/proc/{pid}/net/{name}") for name in ("tcp", "tcp6")]
    listening = f":{PORT:04X} "
    block_until(
        lambda: any(listening in table.read_text() for table in tables), "it listens", BOUND_S
    )
    return id_


def address_of(engine: DockerEngine, id_: str) -> str:
    return str(engine.inspect(id_)["NetworkSettings"]["IPAddress"])


def test_a_connection_between_containers_has_both_of_them(
    engine: DockerEngine, server: str, tmp_path: Path
) -> None:
    address = address_of(engine, server)
    words = ("sh", "-c", f"while true; do sleep 1000 | nc {address} {PORT}; sleep 1; done")
    client = engine.run("client", *words)

    edge, report = find(
        engine, tmp_path, lambda one: "client_container" in one and one["server_port"] == PORT
    )

    assert edge["client_container"] == client
    assert edge["server_container"] == server
    assert (edge["client_address"], edge["server_address"]) == (address_of(engine, client), address)
    assert edge["open"] == 1
    assert report["process"][edge["client"]]["container"] == client
    # The engine's network has multicast of its own, which is tracked and has no ports.
    assert "shape" not in repr(report["collector"]["node;connections"])
    listening = [one for one in report["endpoint"].values() if one.get("container") == server]
    assert [one["port"] for one in listening] == [PORT]


def test_a_published_port_leads_to_its_container(
    engine: DockerEngine, server: str, tmp_path: Path
) -> None:
    with subprocess.Popen(
        engine.enter("busybox", "nc", GATEWAY, str(PUBLISHED)), stdin=subprocess.PIPE
    ) as client:
        try:
            edge, report = find(engine, tmp_path, lambda one: "dialled" in one)
        finally:
            client.kill()

    assert edge["dialled"] == f"{GATEWAY}:{PUBLISHED}"
    assert edge["server_container"] == server
    assert edge["server_port"] == PORT
    assert report["process"][edge["client"]]["pid"] == client.pid
