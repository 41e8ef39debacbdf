"""Checks of what stands beside a live cluster: names by DNS, metrics, and the sync engine."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from stacks.checks.declared import Declared, Group, Names, Profile, WantedEngine
from stacks.checks.run import check
from stacks.migration.evidence import Evidence
from stacks.topology import Color, Standing
from sync_engine.client import ProjectionKind
from sync_engine.znode import WORLD_ALL
from tests.local.conftest import rig, zookeeper
from tests.local.rig import Rig
from tests.names import name_server
from tests.ports import free_port
from tests.sync_engine.conftest import pair
from tests.sync_engine.rig import Rig as EngineRig
from tests.sync_engine.servers import Server
from tests.waiting import until

__all__ = ["pair", "rig", "zookeeper"]

PATIENT: dict[str, Any] = {"zk_session_timeout_s": 60}
_BOUND_S = 120.0
_STOP_S_MAX = 30.0


async def found(declared: Declared) -> dict[str, Evidence]:
    findings = await check(declared, timeout_s=10.0)
    return {one.name: one for one in findings.evidence}


async def test_mesos_dns_is_asked_where_the_leader_is(rig: Rig) -> None:
    (master,) = await rig.masters(count=1, **PATIENT)
    host, _, _ = master.address.rpartition(":")
    name = "leader.cluster"
    said = {name: host}
    group = Group(Color.BLUE, masters=(master.address,))
    with name_server(said) as port:
        names = Names((f"127.0.0.1:{port}",), "cluster")
        given = Declared(Standing(), (group,), (), names=names)
        right = (await found(given))["names"]
        # Of a leader before this one.
        said[name] = "192.0.2.9"
        stale = (await found(given))["names"]
        del said[name]
        nobody = (await found(given))["names"]
    gone = (await found(given))["names"]

    assert right.ok
    assert right.said == f"1 servers say that {name} is {host}"
    assert [one.ok for one in (stale, nobody, gone)] == [False, False, False]
    assert stale.said == f"127.0.0.1:{port} says that {name} is 192.0.2.9"
    assert nobody.said == f"127.0.0.1:{port} says that {name} is nothing"
    assert gone.said == f"127.0.0.1:{port} does not answer"


@pytest.mark.long
async def test_who_leads_is_asked_before_what_names_say(rig: Rig) -> None:
    group = Group(Color.BLUE, masters=(f"127.0.0.1:{free_port()}",))
    with name_server({"leader.cluster": "127.0.0.1"}) as port:
        names = Names((f"127.0.0.1:{port}",), "cluster")
        seen = await found(Declared(Standing(), (group,), (), names=names))

    assert not seen["names"].ok
    assert "could not be asked" in seen["names"].said


@asynccontextmanager
async def exporting(folder: Path, masters: list[str]) -> AsyncGenerator[str]:
    """An exporter as a process; its URL."""
    port, config, log = free_port(), folder / "exporter.json", folder / "exporter.log"
    settings = {"masters": masters, "listen_host": "127.0.0.1", "listen_port": port}
    config.write_text(json.dumps({**settings, "color": "blue"}))
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "controllers.exporter", "--config", str(config)),
            stdout=file,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def is_up() -> bool:
        assert process.returncode is None, log.read_text()[-2000:]
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            try:
                return (await client.get(f"http://127.0.0.1:{port}/healthz")).is_success
            except httpx.HTTPError:
                return False

    try:
        await until(is_up, f"an exporter, see {log}", _BOUND_S)
        yield f"http://127.0.0.1:{port}/metrics"
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(_STOP_S_MAX):
            await process.wait()


@pytest.mark.long
async def test_an_exporter_tells_of_each_declared_master(rig: Rig, tmp_path: Path) -> None:
    group = await rig.masters(count=3, **PATIENT)
    agent = await rig.agent(**PATIENT)
    await until(lambda: agent.id, "the agent is registered", _BOUND_S)
    masters = [master.address for master in group]
    async with exporting(tmp_path, masters[:2]) as some, exporting(tmp_path, masters) as url:
        given = Declared(Standing(), (), (), exporters={url: tuple(masters)})
        right = (await found(given))["exporters"]
        # One that was declared before a master came.
        few = (await found(replace(given, exporters={some: tuple(masters)})))["exporters"]
        # Somebody else answers there, as any web server does.
        other = url.replace("/metrics", "/healthz")
        page = (await found(replace(given, exporters={other: tuple(masters)})))["exporters"]
        follower = next(one for one in group if not one.master.elected)
        await follower.stop()
        down = (await found(given))["exporters"]

    assert right.ok, right.said
    assert few.said == f"{some} does not ask {masters[2]}"
    assert f"{other} tells of nobody" in page.said
    assert down.said == f"{follower.address} does not answer {url}"
    assert [one.ok for one in (few, page, down)] == [False] * 3


@pytest.mark.timeout(300)
async def test_the_sync_engine_shows_the_declared_leader_and_fences_its_election(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    engine_rig = EngineRig(pair, tmp_path)
    leader = "g1:5050"
    info = {"id": "g1", "hostname": "g1", "port": 5050, "pid": "master@g1"}
    wanted = WantedEngine(
        f"http://127.0.0.1:{engine_rig.port}",
        engine_rig.token_file,
        projection=False,
        fence=False,
        leaders=(leader,),
    )
    before = Declared(Standing(), (), (Profile({}),), engine=wanted)
    shows = replace(before, engine=replace(wanted, projection=True, fence=True))

    async def looked_at(declared: Declared) -> Evidence:
        return (await found(declared))["sync engine"]

    async with engine_rig.lanes() as (a, b):
        # Numbers are free below those of the masters that stand there.
        for number in range(1, 7):
            path = f"{engine_rig.election}/json.info_{number:010d}"
            await a.create(path, json.dumps(info).encode(), WORLD_ALL, ephemeral=True)
            if number <= 3:
                await a.delete(path, -1)
        candidate = f"{engine_rig.election}/json.info_0000000001"
        await b.create(candidate, json.dumps(info).encode(), WORLD_ALL, ephemeral=True)
        async with engine_rig.process() as (_, client):
            quiet, early = await looked_at(before), await looked_at(shows)
            await client.project(engine_rig.projection, ProjectionKind.PERSISTENT)
            unfenced = await looked_at(shows)
            await client.fence_election(engine_rig.projection, fenced=True)
            kept, late = await looked_at(shows), await looked_at(before)
            other = replace(wanted, projection=True, fence=True, leaders=("g2:5050",))
            foreign = await looked_at(replace(before, engine=other))
        gone = await looked_at(shows)

    name = engine_rig.projection
    assert quiet.ok, quiet.said
    assert kept.ok, kept.said
    assert kept.numbers["projections"][name]["leader"] == leader
    assert f"projection {name} is off, declared is persistent" in early.said
    assert unfenced.said == f"the election path of {name} is open, declared is fenced"
    assert f"projection {name} is persistent, declared is off" in late.said
    assert foreign.said == f"projection {name} shows {leader}, which is none of g2:5050"
    assert "could not be asked" in gone.said
    assert [one.ok for one in (early, unfenced, late, foreign, gone)] == [False] * 5
