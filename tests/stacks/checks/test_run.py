"""Checks of a live cluster: real ZooKeeper, a master, an agent and Marathon; what is otherwise than
declared is named, and what does not answer is no agreement.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.mesos.access import MARATHON, MARATHON_SECRET, Access, Framework
from components.network.cni import CONFIG_FLAG
from components.network.discovery import Discovery
from components.workload import Secret
from stacks.agents import ListedAgents
from stacks.checks.declared import Declared, EdgeGroup, Group, Names, Profile, WantedEngine
from stacks.checks.run import check
from stacks.migration.evidence import Evidence
from stacks.topology import Color, Standing
from tests.local.conftest import rig, zookeeper
from tests.local.rig import Rig, require_control_groups
from tests.names import name_server
from tests.sync_engine.servers import Server, start_all
from tests.waiting import until

__all__ = ["rig", "zookeeper"]

CREDENTIAL = "operator:secret"
LIMITING = "cgroups/cpu,cgroups/mem"
RESOURCES = {"cpus": 4.0, "mem": 1024.0, "disk": 512.0}
PATIENT: dict[str, Any] = {"zk_session_timeout_s": 60}
_BOUND_S = 120.0


async def found(declared: Declared) -> dict[str, Evidence]:
    findings = await check(declared, timeout_s=10.0)
    return {one.name: one for one in findings.evidence}


async def make(rig: Rig, folder: Path) -> Declared:
    """A master that asks for a credential, an agent and Marathon; what a stack would say."""
    secrets = folder / "secrets"
    secrets.mkdir()
    credential = secrets / Secret.MESOS_OPERATOR
    own = secrets / MARATHON_SECRET
    for file, text in ((credential, CREDENTIAL), (own, "marathon:secret")):
        file.write_text(text)
        file.chmod(0o600)
    asked = {
        "credential_file": credential,
        "principal_files": [own],
        "acls": Access(frameworks=(Framework(MARATHON),)).acls(),
        "authenticate_http_frameworks": True,
    }
    master = await rig.master(quorum=1, **asked, **PATIENT)
    await until(lambda: master.master.elected and master.master.leadership, "a leader", _BOUND_S)
    # It says that it holds tasks to their share, and nobody has looked.
    flags = {CONFIG_FLAG: "/var/lib/mesos-platform/networks/by-name/web", "isolation": LIMITING}
    agent = await rig.agent(resources=RESOURCES, flags=flags, **PATIENT)
    marathon = await rig.marathon(credential_file=own, http_credentials_file=own)
    await until(lambda: marathon.marathon.link.connected_to, "Marathon is subscribed", _BOUND_S)
    await until(lambda: agent.registered_with, "the agent is registered", _BOUND_S)
    group = Group(
        Color.BLUE,
        tuple(rig.hosts.split(",")),
        (master.address,),
        ListedAgents((f"127.0.0.1:{agent.settings.port}",)),
        voting=frozenset({1}),
    )
    return Declared(
        Standing(),
        (group,),
        (Profile(RESOURCES, {"isolation": LIMITING}),),
        marathon=(marathon.marathon.settings.host_port,),
        networks=frozenset({"web"}),
        secrets=secrets,
    )


@pytest.mark.timeout(600)
async def test_a_live_cluster_is_compared_with_what_is_declared(rig: Rig, tmp_path: Path) -> None:
    declared = await make(rig, tmp_path)

    seen = await found(declared)

    assert {name: one.said for name, one in seen.items() if not one.ok} == {}
    assert set(seen) == {
        "blue ensemble", "blue voters", "blue masters", "blue masters' flags", "blue agents",
        "blue agents' flags", "blue limits", "networks", "quota", "weights", "marathon",
        "strangers",
    }  # fmt: skip
    assert seen["strangers"].numbers == dict.fromkeys(
        [*declared.groups[0].masters, *declared.marathon], 401
    )

    await differences_are_named(declared)
    await an_older_framework_costs_its_own_finding(declared)


async def differences_are_named(declared: Declared) -> None:
    """The same cluster, of which something else is declared."""
    (group,) = declared.groups
    assert isinstance(group.agents, ListedAgents)
    more = replace(
        group,
        agents=ListedAgents((*group.agents.addresses, "127.0.0.1:1")),
        masters=(*group.masters, "127.0.0.1:1"),
        voting=frozenset({1, 2, 3}),
    )
    other = replace(
        declared,
        groups=(more,),
        profiles=(Profile({**RESOURCES, "cpus": 8.0}, {"isolation": "cgroups/cpu"}),),
        quota={"dev": {"cpus": 2.0}},
        weights={"dev": 2.0},
        marathon=(*declared.marathon, "127.0.0.1:1"),
        engine=WantedEngine("http://127.0.0.1:1", declared.secrets or Path()),
        exporters={"http://127.0.0.1:1/metrics": ()},
        networks=frozenset({"web", "db"}),
        bootstrapped=frozenset({Color.BLUE}),
        edge=EdgeGroup(("127.0.0.1:1",), "external", frozenset()),
    )

    seen = await found(other)

    assert {name for name, one in seen.items() if one.ok} == {"blue ensemble"}
    assert "server 2 has no vote" in seen["blue voters"].said
    assert "127.0.0.1:1 is not registered" in seen["blue agents"].said
    assert "cpus 4, disk 512, mem 1024, declared is cpus 8" in seen["blue agents"].said
    assert f"isolation is {LIMITING}, declared is cgroups/cpu" in seen["blue agents' flags"].said
    assert "knows no db" in seen["networks"].said
    assert "1 replicas, 2 are declared" in seen["blue masters"].said
    assert "127.0.0.1:1 does not answer" in seen["strangers"].said
    assert "log_auto_initialize is true, declared is false" in seen["blue masters' flags"].said
    assert "dev may have everything, declared is cpus 2" in seen["quota"].said
    assert "dev weighs 1, declared is 2" in seen["weights"].said
    assert "127.0.0.1:1 names no leader" in seen["marathon"].said
    assert "could not be asked" in seen["sync engine"].said
    assert "http://127.0.0.1:1/metrics does not answer" in seen["exporters"].said
    assert "127.0.0.1:1 does not answer" in seen["edge"].said


async def an_older_framework_costs_its_own_finding(declared: Declared) -> None:
    """One whose state tells of no canaries."""
    async with answering(b'{"name": "sample"}') as address:
        older = (f"http://{address}",)
        seen = await found(replace(declared, frameworks=older))

    assert seen["blue agents"].ok
    assert seen["quota"].ok
    assert not seen["blue limits"].ok
    assert f"expected http://{address}/state to tell of its canaries" in seen["blue limits"].said

    gone = replace(declared, frameworks=older)
    assert f"{older[0]} does not answer" in (await found(gone))["blue limits"].said


async def test_a_canary_tells_whether_agents_hold_it_to_its_share(rig: Rig) -> None:
    require_control_groups()
    master = await rig.master(quorum=1, **PATIENT)
    await until(lambda: master.master.elected and master.master.leadership, "a leader", _BOUND_S)
    agent = await rig.agent(isolation="cgroups", **PATIENT)
    framework = await rig.framework(tasks=0)
    await until(lambda: agent.id, "the agent is registered", _BOUND_S)
    address = f"127.0.0.1:{agent.settings.port}"
    group = Group(Color.BLUE, (), (master.address,), ListedAgents((address,)))
    profile = Profile({}, {"isolation": "cgroups/cpu,cgroups/mem"})
    declared = Declared(Standing(), (group,), (profile,), frameworks=(framework.url,))

    async def limits() -> tuple[bool, bool, str]:
        one = (await found(declared))["blue limits"]
        return one.ok, one.looked, one.said

    assert (await limits())[:2] == (True, False)
    assert f"{address} was not looked at, no canary has run there" in (await limits())[2]

    asked = {"agent_port": agent.settings.port, "limited": True}
    (await rig.http.post(f"{framework.url}/canary", json=asked, timeout=60)).raise_for_status()
    assert await limits() == (True, True, "1 of 1 blue agents held a canary to its share")

    # An agent that says that it holds tasks, and does not.
    await rig.stop_agent(agent)
    other = await rig.agent(flags={"isolation": "cgroups/cpu,cgroups/mem"}, number=1, **PATIENT)
    await until(lambda: other.id, "the other agent is registered", _BOUND_S)
    there = f"127.0.0.1:{other.settings.port}"
    declared = replace(declared, groups=(replace(group, agents=ListedAgents((there,))),))
    await rig.http.post(
        f"{framework.url}/canary", json={**asked, "agent_port": other.settings.port}, timeout=60
    )
    ok, looked, said = await limits()
    assert (ok, looked) == (False, True)
    assert f"was not within its limits on {there}" in said


async def test_who_votes_is_what_the_ensemble_itself_holds(tmp_path: Path) -> None:
    server = Server(tmp_path, initial_epoch=1)
    with start_all(server):
        group = Group(Color.BLUE, (server.hosts,), voting=frozenset({1}))
        declared = Declared(Standing(), (group,), (Profile(RESOURCES),))
        as_declared = await found(declared)
        more = replace(group, voting=frozenset({1, 2, 3}))
        otherwise = await found(replace(declared, groups=(more,)))

    assert as_declared["blue voters"].said == "servers 1 of blue vote"
    assert as_declared["blue voters"].ok
    assert "server 2 has no vote" in otherwise["blue voters"].said
    assert otherwise["blue voters"].numbers == {"declared": [1, 2, 3], "seen": [1]}


async def test_a_cluster_that_does_not_answer_does_not_hold(tmp_path: Path) -> None:
    group = Group(Color.BLUE, ("127.0.0.1:1",), ("127.0.0.1:1",), ListedAgents(("127.0.0.1:1",)))
    declared = Declared(Standing(), (group,), (Profile(RESOURCES),), marathon=("127.0.0.1:1",))

    findings = await check(declared, timeout_s=1.0)

    assert [one.name for one in findings.evidence if one.ok] == []
    assert all("127.0.0.1:1" in one.said for one in findings.evidence)


@contextlib.asynccontextmanager
async def telling_marathon() -> AsyncGenerator[str]:
    """A Marathon that has one app with an instance on this machine; its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode().partition("?")[0]
        one = {"id": "t", "appId": "/web", "host": "127.0.0.1", "ports": [1]}
        told: dict[str, Any] = {
            "/v2/leader": {"leader": address},
            "/v2/apps": {"apps": [{"id": "/web", "portDefinitions": [{"port": 1}]}]},
            "/v2/tasks": {"tasks": [{**one, "state": "TASK_RUNNING"}]},
        }
        body = json.dumps(told[path])
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        writer.write(f"{head}\r\nconnection: close\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield address


async def test_consul_is_asked_for_its_servers_and_for_an_app() -> None:
    own, web = "consul.service.consul", "web.service.consul"
    said: dict[str, str] = {own: "127.0.0.1", web: "127.0.0.1"}
    async with telling_marathon() as marathon:
        with name_server(said) as port:
            names = Names((f"127.0.0.1:{port}",), "consul", Discovery.CONSUL)
            given = Declared(Standing(), (), (), marathon=(marathon,), names=names)
            right = await found(given)
            # Of an instance that has ended.
            said[web] = "192.0.2.9"
            stale = await found(given)
            del said[web], said[own]
            empty = await found(given)

    assert right["names"].ok, right["names"].said
    assert right["names of apps"].said == "1 servers say that web.service.consul is 127.0.0.1"
    assert stale["names"].ok
    assert not stale["names of apps"].ok
    assert [name for name in ("names", "names of apps") if empty[name].ok] == []


@contextlib.asynccontextmanager
async def answering(body: bytes) -> AsyncGenerator[str]:
    """Something that has one answer to everything; its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_an_agent_that_tells_something_else_than_flags_does_not_stop_the_others() -> None:
    async with answering(b'{"flags": ["nothing"]}') as address:
        group = Group(Color.BLUE, agents=ListedAgents((address,)))
        seen = await found(Declared(Standing(), (group,), (Profile(RESOURCES),)))

    assert seen["blue agents' flags"].said == f"{address} does not tell its flags"
