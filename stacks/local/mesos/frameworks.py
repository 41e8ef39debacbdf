"""Frameworks as a master sees them: they subscribe, go away, come back, or are completed.

A framework without a connection keeps its tasks for its `failover_timeout`; after that it is
completed, its tasks are shut down, and its id is refused for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from stacks.local.errors import CallError
from stacks.local.mesos import render, values
from stacks.local.mesos.candidates import Candidates
from stacks.local.mesos.cluster import Cluster, Framework
from stacks.local.mesos.statuses import status
from stacks.local.mesos.streams import Stream
from stacks.local.mesos.values import Json

_log = structlog.get_logger()


class Frameworks:
    """Their comings and goings."""

    def __init__(self, cluster: Cluster, candidates: Candidates) -> None:
        self._cluster = cluster
        self._candidates = candidates
        self._failover: dict[str, asyncio.TimerHandle] = {}

    def subscribe(
        self, info: Json, stream: Stream, stream_id: str, suppressed: Iterable[str] = ()
    ) -> Framework:
        """Connect a framework, a new one or one that comes back by its id.

        `suppressed` are roles that it wants no offers for yet.

        Raises:
            CallError: a framework of that id has been removed, or is another principal's.
        """
        cluster, now = self._cluster, values.now()
        given = values.value(info, "id") or ""
        if any(done.id == given for done in cluster.completed_frameworks):
            raise CallError(403, "Framework has been removed")
        framework_id = given or cluster.next_framework_id()
        info = {**info, "id": {"value": framework_id}}
        framework = cluster.frameworks.get(framework_id)
        before = None if framework is None else framework.info.get("principal")
        if before is not None and before != info.get("principal"):
            raise CallError(403, "Changing framework's principal is not allowed.")
        kind = "FRAMEWORK_UPDATED"
        if framework is None:
            kind = "FRAMEWORK_ADDED"
            framework = Framework(framework_id, info, registered_at=now)
            cluster.frameworks[framework_id] = framework
        else:
            if framework.stream is not None:
                framework.tell({"type": "ERROR", "error": {"message": "Framework failed over"}})
                framework.stream.close()
            framework.reregistered_at = now
            for offer_id in list(framework.offers):
                cluster.remove_offer(offer_id)
        timer = self._failover.pop(framework_id, None)
        if timer is not None:
            timer.cancel()
        framework.info, framework.recovered, framework.suppressed = info, False, set(suppressed)
        framework.stream, framework.stream_id = stream, stream_id
        event = {"type": kind, kind.lower(): {"framework": render.framework(framework)}}
        cluster.subscribers.tell_of_framework(event, info)
        _log.info("framework.subscribed", framework=framework_id, name=info.get("name"))
        self._candidates.add_all()
        return framework

    def disconnect(self, framework: Framework, stream: Stream) -> None:
        """Its stream ended: its tasks are shut down unless it comes back in `failover_timeout`."""
        if framework.stream is not stream:
            return
        framework.stream = framework.stream_id = None
        framework.unregistered_at = values.now()
        for offer_id in list(framework.offers):
            self._cluster.remove_offer(offer_id)
        timeout_s = float(framework.info.get("failover_timeout") or 0.0)
        self._failover[framework.id] = asyncio.get_running_loop().call_later(
            timeout_s, self.remove, framework
        )
        _log.info("framework.disconnected", framework=framework.id, failover_timeout_s=timeout_s)

    def remove(self, framework: Framework) -> None:
        """Complete a framework: its tasks are shut down and it may not come back."""
        cluster = self._cluster
        if cluster.frameworks.get(framework.id) is not framework:
            return
        for agent in cluster.agents.values():
            agent.tell({"type": "SHUTDOWN_FRAMEWORK", "framework_id": framework.id})
        for task in list(framework.tasks.values()):
            if not task.is_terminal:
                ended = status(
                    task,
                    "TASK_KILLED",
                    message="Framework removed",
                    reason="REASON_FRAMEWORK_REMOVED",
                )
                cluster.note(task, ended, "TASK_KILLED")
                cluster.counters.note_end("TASK_KILLED")
                cluster.publish_update(task, ended)
            cluster.remove_task(task)
        for offer_id in list(framework.offers):
            cluster.remove_offer(offer_id)
        removed = {"framework_info": framework.info}
        cluster.subscribers.tell_of_framework(
            {"type": "FRAMEWORK_REMOVED", "framework_removed": removed}, framework.info
        )
        if framework.stream is not None:
            framework.stream.close()
        framework.stream = framework.stream_id = None
        del cluster.frameworks[framework.id]
        cluster.completed_frameworks.append(framework)
        _log.info("framework.removed", framework=framework.id)
