"""Who looks after pods, on a real API server and with the rights of its own service account alone.

Nothing runs on these nodes, so masters are values here: who leads, and which agent is drained.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clients.kubernetes import (
    RefusedError,
    UnknownKindError,
)
from clients.mesos.model import Agent, Agents, Drain, DrainState
from controllers.caretaker.cluster import MARK, WorkloadClient
from controllers.caretaker.driver import Caretaker
from controllers.caretaker.settings import CaretakerSettings
from tests.kubernetes import definitions
from tests.kubernetes.accounts import as_account
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.stack import ClusterStack, is_ready
from tests.providers.cluster.api import Cluster, Object
from tests.waiting import until

_BOUND_S = 900
_ROLL_S_MAX = 240.0
_CLAIMS = 3
_SNAPSHOTS = "snapshot.storage.k8s.io/v1"


def settings_of(stack: ClusterStack, name: str) -> CaretakerSettings:
    """What the stack has declared for a caretaker."""
    text = stack.get("v1", "ConfigMap", name)["data"][f"{name}-0.json"]
    return CaretakerSettings.model_validate(json.loads(text))


class Masters:
    """A leader that stays, and agents that are drained as soon as they are told to be."""

    def __init__(self, leader: str, agents: Sequence[Agent] = ()) -> None:
        self._leader = leader
        self._agents = {agent.id: agent for agent in agents}
        self.told: list[str] = []

    async def leader(self) -> str:
        return f"{self._leader}.some.svc:5050"

    async def agents(self) -> Agents:
        return Agents(tuple(self._agents.values()), ())

    async def drain_agent(self, agent_id: str) -> None:
        self.told.append(f"drain {agent_id}")
        drained = Drain(DrainState.DRAINED, None, mark_gone=False)
        self._change(agent_id, drain=drained, deactivated=True)

    async def reactivate_agent(self, agent_id: str) -> None:
        self.told.append(f"reactivate {agent_id}")
        self._change(agent_id, drain=None, deactivated=False)

    def _change(self, agent_id: str, **fields: Any) -> None:
        self._agents[agent_id] = dataclasses.replace(self._agents[agent_id], **fields)


async def roll(stack: ClusterStack, caretaker: Caretaker, name: str) -> list[str]:
    """Go round until every pod is another one; the order in which they went."""
    before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in stack.pods(name)}
    gone: list[str] = []

    async def is_over() -> bool:
        await caretaker.round()
        pods = stack.pods(name)
        # One that is on its way counts at once: two may have gone when the next round is over.
        metadata = [pod["metadata"] for pod in pods]
        there = {one["uid"] for one in metadata if "deletionTimestamp" not in one}
        for one, uid in before.items():
            if uid not in there and one not in gone:
                gone.append(one)
        return len(gone) == len(before) == len(pods) and all(map(is_ready, pods))

    await until(is_over, f"every pod of {name} to be new", _ROLL_S_MAX)
    return gone


@pytest.mark.timeout(_BOUND_S)
async def test_followers_go_first_and_the_leader_last(
    stack: ClusterStack, plane: ControlPlane, tmp_path: Path
) -> None:
    await asyncio.to_thread(stack.runner.up)
    stack.configure(cluster={"masters": {"flags": {"allocation_interval": "2secs"}}})
    before = {pod["metadata"]["uid"] for pod in stack.pods("blue-masters")}
    await asyncio.to_thread(stack.runner.up)
    # The update leaves them alone: who knows the leader replaces them.
    assert {pod["metadata"]["uid"] for pod in stack.pods("blue-masters")} == before

    name = "blue-masters-caretaker"
    settings = settings_of(stack, name)
    async with as_account(plane, stack, name, tmp_path) as client:
        masters = Masters("blue-masters-1")
        caretaker = Caretaker(settings, WorkloadClient(client, settings), masters)
        assert await roll(stack, caretaker, "blue-masters") == [
            "blue-masters-2",
            "blue-masters-0",
            "blue-masters-1",
        ]
        # It may do that, and nothing else.
        space = f"/api/v1/namespaces/{stack.namespace}"
        for path in (f"{space}/secrets/any", f"{space}/configmaps/blue-masters"):
            with pytest.raises(RefusedError, match="Forbidden"):
                await client.get(path)
        with pytest.raises(RefusedError, match="Forbidden"):
            await client.evict(stack.agents_namespace, "any", "any")


@pytest.mark.timeout(_BOUND_S)
async def test_agents_are_drained_before_their_pods_go(
    stack: ClusterStack, plane: ControlPlane, tmp_path: Path
) -> None:
    await asyncio.to_thread(stack.runner.up)
    stack.configure(cluster={"agents": {"mem_mb": 4096}})
    await asyncio.to_thread(stack.runner.up)
    pods = stack.pods("blue-agents")
    known = [agent_on(pod["spec"]["nodeName"]) for pod in pods]

    name = "blue-agents-caretaker"
    settings = settings_of(stack, name)
    async with as_account(plane, stack, name, tmp_path) as client:
        masters = Masters("any", known)
        caretaker = Caretaker(settings, WorkloadClient(client, settings), masters)
        gone = await roll(stack, caretaker, "blue-agents")

        async def is_unmarked() -> bool:
            await caretaker.round()
            found = stack.get("apps/v1", "DaemonSet", "blue-agents")
            return MARK not in (found["metadata"].get("annotations") or {})

        await until(is_unmarked, "the last agent to be let go", _ROLL_S_MAX)

    assert len(gone) == len(pods)
    nodes = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in pods}
    order = [f"id-of-{nodes[pod]}" for pod in gone]
    # One at a time, each back in service before the next one's tasks move.
    assert masters.told == [
        f"{what} {agent_id}" for agent_id in order for what in ("drain", "reactivate")
    ]
    assert (await asyncio.to_thread(stack.runner.preview)).changes == ()


def agent_on(node: str) -> Agent:
    return Agent(
        id=f"id-of-{node}",
        hostname=node,
        port=5051,
        pid="slave(1)@10.0.0.1:5051",
        version="1.11.0",
        active=True,
        deactivated=False,
        registered_at=0.0,
        reregistered_at=None,
        attributes={},
        resources={},
        allocated={},
        drain=None,
    )


@pytest.mark.timeout(_BOUND_S)
async def test_each_volume_is_copied_and_a_missing_kind_is_named(
    stack: ClusterStack, plane: ControlPlane, cluster: Cluster, tmp_path: Path
) -> None:
    made = definitions.install(cluster)
    try:
        stack.configure(kubernetes={"snapshots": {"driver": "csi.example.com", "every_h": 1}})
        await asyncio.to_thread(stack.runner.up)
        name = "blue-zookeeper-caretaker"
        settings = settings_of(stack, name)
        async with as_account(plane, stack, name, tmp_path) as client:
            workload = WorkloadClient(client, settings)
            caretaker = Caretaker(settings, workload, None)

            async def all_copied() -> bool:
                # A server may not serve yet a kind that it has just taken.
                await caretaker.round()
                return len(copies_of(stack)) >= _CLAIMS

            await until(all_copied, "a copy of each volume", _ROLL_S_MAX)
            found = copies_of(stack)
            assert sorted(found.values()) == [f"state-blue-zookeeper-{i}" for i in range(_CLAIMS)]
            # They are under way: a second look makes no more.
            await caretaker.round()
            assert copies_of(stack) == found

            for each in made:
                cluster.delete(each)
            await until(lambda: is_unknown(workload), "the kind to be gone", _ROLL_S_MAX)
    finally:
        for each in made:
            cluster.delete(each)


def copies_of(stack: ClusterStack) -> dict[str, str]:
    """Copies, and which claim each is of."""
    found: list[Object] = stack.cluster.list(_SNAPSHOTS, "VolumeSnapshot", stack.namespace)
    return {
        each["metadata"]["name"]: each["spec"]["source"]["persistentVolumeClaimName"]
        for each in found
    }


async def is_unknown(workload: WorkloadClient) -> bool:
    try:
        await workload.copies()
    except UnknownKindError as error:
        return "install its definition first" in str(error)
    return False
