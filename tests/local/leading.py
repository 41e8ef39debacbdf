"""A leading master's state without a network: registry in memory, streams that are read at once."""

from __future__ import annotations

import json
from typing import Any

from clients.mesos.recordio import Decoder
from stacks.local.mesos.access import Access
from stacks.local.mesos.allocator import Allocator
from stacks.local.mesos.cluster import Agent, Cluster, Framework
from stacks.local.mesos.core import Core
from stacks.local.mesos.operator_api import OperatorApi
from stacks.local.mesos.registry import Change
from stacks.local.mesos.scheduler_api import SchedulerApi
from stacks.local.mesos.streams import Stream

Json = dict[str, Any]


def read(stream: Stream | None) -> list[Json]:
    """What was sent since the last look."""
    assert stream is not None
    return [json.loads(record) for record in Decoder().feed(stream.waiting())]


class Leading:
    """What a master does, called directly."""

    def __init__(self, acls: Json | None = None) -> None:
        self.document: Json = {}
        self.cluster = Cluster("m")
        self.core = Core(self.cluster, lambda: self.document, self._store)
        self.allocator = Allocator(self.cluster)
        access = Access(None, acls)
        self.scheduler = SchedulerApi(self.core, self.allocator, access)
        self.operator = OperatorApi(self.core, flags=dict, metrics=dict, master=dict, access=access)

    async def _store(self, change: Change) -> None:
        self.document = change(self.document)

    async def agent(self, number: int = 0, **given: Any) -> tuple[Agent, Stream]:
        """Register an agent."""
        stream = Stream()
        message: Json = {
            "info": {
                "hostname": f"h{number}",
                "port": 5051,
                "resources": [
                    {"name": "cpus", "type": "SCALAR", "scalar": {"value": 4.0}},
                    {"name": "mem", "type": "SCALAR", "scalar": {"value": 4096.0}},
                ],
            },
            "pid": f"slave(1)@10.0.0.{number}:5051",
            **given,
        }
        return await self.core.enrol(message, stream), stream

    def framework(self, name: str | None = None, **given: Any) -> Framework:
        """Subscribe a framework."""
        info: Json = {
            "user": "root",
            "name": "f",
            "roles": ["*"],
            "failover_timeout": 600.0,
            "checkpoint": True,
            "capabilities": [{"type": "PARTITION_AWARE"}],
            **given,
        }
        if name is not None:
            info["id"] = {"value": name}
        return self.core.frameworks.subscribe(info, Stream(), "stream")

    async def call(self, framework: Framework, kind: str, **body: Any) -> None:
        """Make a call of the scheduler API."""
        call = {"type": kind, "framework_id": {"value": framework.id}, kind.lower(): body}
        await self.scheduler.call(call, "stream")

    async def launch(self, framework: Framework, task_id: str, *, cpus: float = 1.0) -> Json:
        """Launch a task on the first offer; returns its TaskInfo."""
        self.allocator.run(self.document)
        offer = next(iter(framework.offers.values()))
        info: Json = {
            "name": task_id,
            "task_id": {"value": task_id},
            "agent_id": {"value": offer.agent_id},
            "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus}}],
            "command": {"value": "sleep 1"},
        }
        operation = {"type": "LAUNCH", "launch": {"task_infos": [info]}}
        await self.call(
            framework, "ACCEPT", offer_ids=[{"value": offer.id}], operations=[operation]
        )
        return info

    async def update(
        self, framework: Framework, info: Json, state: str, uuid: str | None = None
    ) -> None:
        """An agent reports a status."""
        status = {
            "task_id": info["task_id"],
            "agent_id": info["agent_id"],
            "state": state,
            "uuid": uuid or state,
            "timestamp": 1.0,
        }
        self.core.update(
            {
                "agent_id": info["agent_id"]["value"],
                "framework_id": framework.id,
                "status": status,
                "latest_state": state,
            }
        )


def statuses(framework: Framework) -> list[Json]:
    """Statuses that a framework was sent since the last look."""
    return [e["update"]["status"] for e in read(framework.stream) if e["type"] == "UPDATE"]
