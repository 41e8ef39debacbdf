"""The v1 scheduler API: what frameworks call, as include/mesos/v1/scheduler/scheduler.proto has it.

SUBSCRIBE answers with a stream of events; every other call is answered 202 and carries the stream's
id. Reconciliation follows the six cases of Mesos' docs/reconciliation.md, of which one matters for
migrations: a task of an agent that the registry does not know at all is TASK_UNKNOWN (or LOST), so
a framework that reconciles with a fresh master group before the agents have come relaunches its
tasks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import structlog

from stacks.local.errors import CallError
from stacks.local.mesos import ports, values
from stacks.local.mesos.access import Access
from stacks.local.mesos.allocator import Allocator
from stacks.local.mesos.cluster import Framework, Offer, Task
from stacks.local.mesos.core import Core
from stacks.local.mesos.statuses import status
from stacks.local.mesos.values import Json, Scalars

_log = structlog.get_logger()
_Handler = Callable[[Framework, Json], Awaitable[None]]


class _Left(NamedTuple):
    """What is left of the offers that a call accepts."""

    resources: Scalars
    ports: ports.Ranges


class SchedulerApi:
    """Calls of connected frameworks."""

    def __init__(self, core: Core, allocator: Allocator, access: Access) -> None:
        self._core = core
        self._access = access
        self._cluster = core.cluster
        self._allocator = allocator
        self._handlers: dict[str, _Handler] = {
            "ACCEPT": self._accept,
            "DECLINE": self._decline,
            "KILL": self._kill,
            "RECONCILE": self._reconcile,
            "ACKNOWLEDGE": self._acknowledge,
            "SUPPRESS": self._suppress,
            "REVIVE": self._revive,
            "TEARDOWN": self._teardown,
        }

    def admit(self, info: Json, principal: str | None) -> Json:
        """Refuse a framework that is another's or may not have its roles; returns its info with who
        it is: one that says nothing of that is whose credential it came with.

        Raises:
            CallError: 400, 403.
        """
        _require_own(info, principal)
        if principal is not None:
            info = {**info, "principal": principal}
        for role in info.get("roles") or [info.get("role") or "*"]:
            if not self._access.allows("register_frameworks", info.get("principal"), str(role)):
                raise CallError(403, f"Not authorized to use role '{role}'")
        return info

    async def call(self, call: Json, stream_id: str | None, principal: str | None = None) -> None:
        """Handle any call but SUBSCRIBE.

        Raises:
            CallError: unknown framework, another's, wrong stream, or a call that says too little.
        """
        kind = str(call.get("type"))
        handler = self._handlers.get(kind)
        if handler is None:
            raise CallError(
                400, "Failed to validate scheduler::Call: Expecting 'type' to be present"
            )
        framework_id = values.value(call, "framework_id") or ""
        if not framework_id:
            raise CallError(
                400, "Failed to validate scheduler::Call: Expecting 'framework_id' to be present"
            )
        framework = self._cluster.frameworks.get(framework_id)
        if framework is None:
            raise CallError(400, "Framework cannot be found")
        _require_own(framework.info, principal)
        if not framework.connected:
            raise CallError(403, "Framework is not subscribed")
        if stream_id is None:
            raise CallError(
                400, "All non-subscribe calls should include the 'Mesos-Stream-Id' header"
            )
        if stream_id != framework.stream_id:
            raise CallError(
                400,
                "The stream ID included in this request didn't match the stream ID currently "
                f"associated with framework ID {framework_id}",
            )
        framework.calls[kind] = framework.calls.get(kind, 0) + 1
        await handler(framework, call.get(kind.lower()) or {})

    async def _accept(self, framework: Framework, body: Json) -> None:
        cluster = self._cluster
        offers = [
            offer
            for item in body.get("offer_ids", ())
            if (offer := cluster.offers.get(str(item["value"]))) is not None
            and offer.framework_id == framework.id
        ]
        agent_ids = {offer.agent_id for offer in offers}
        valid = len(offers) == len(body.get("offer_ids", ())) and len(agent_ids) == 1
        left = _Left(
            values.total(offer.resources for offer in offers),
            ports.merge(piece for offer in offers for piece in offer.ports),
        )
        for offer in offers:
            cluster.remove_offer(offer.id)
        for operation in body.get("operations", ()):
            if operation.get("type") != "LAUNCH":
                continue
            for info in operation["launch"]["task_infos"]:
                left = self._launch(framework, info, offers[0] if valid else None, left)
        if valid and offers:
            first = offers[0]
            rest = Offer(first.id, framework.id, first.agent_id, first.role, left.resources)
            self._allocator.filters.refuse(rest, body.get("filters"))
        for agent_id in agent_ids:
            self._core.candidates.add(agent_id)

    def _launch(self, framework: Framework, info: Json, offer: Offer | None, left: _Left) -> _Left:
        """Start one task; returns what is left of the offers."""
        cluster = self._cluster
        resources = [
            {k: v for k, v in resource.items() if k != "allocation_info"}
            for resource in info.get("resources", ())
        ]
        named = values.value(info, "agent_id") or ""
        role = framework.roles[0] if offer is None else offer.role
        task = Task({**info, "resources": resources}, framework.id, named, role)
        problem = self._problem(framework, task, offer.agent_id if offer else None, left)
        if problem is not None:
            state, reason, message = problem
            refused = status(task, state, message=message, reason=reason)
            cluster.counters.note_end(state)
            framework.send_status(refused)
            return left
        cluster.add_task(task)
        cluster.counters.launches += 1
        from stacks.local.mesos import render

        added = {"type": "TASK_ADDED", "task_added": {"task": render.task(task)}}
        cluster.subscribers.tell_of_task(added, framework.info)
        cluster.agents[named].tell(
            {
                "type": "RUN_TASK",
                "framework_info": framework.info,
                "task": task.info,
                "role": task.role,
            }
        )
        return _Left(
            values.subtract(left.resources, task.resources), ports.subtract(left.ports, task.ports)
        )

    def _problem(
        self, framework: Framework, task: Task, agent_id: str | None, left: _Left
    ) -> tuple[str, str, str] | None:
        dropped = "TASK_DROPPED" if framework.partition_aware else "TASK_LOST"
        if agent_id is None or agent_id not in self._cluster.agents:
            return dropped, "REASON_INVALID_OFFERS", "Task launched with invalid offers"
        agent = self._cluster.agents[agent_id]
        if not agent.active:
            return dropped, "REASON_AGENT_DISCONNECTED", "Agent is disconnected or deactivated"
        problem = self._refusal(framework, task, agent_id, left)
        return None if problem is None else ("TASK_ERROR", *problem)

    def _refusal(
        self, framework: Framework, task: Task, agent_id: str, left: _Left
    ) -> tuple[str, str] | None:
        """Reason and message of a task that can never be launched."""
        if task.agent_id != agent_id:
            return "REASON_TASK_INVALID", "Task uses another agent than its offer"
        user = values.part(task.info, "command").get("user") or framework.info.get("user", "")
        if not self._access.allows("run_tasks", framework.info.get("principal"), str(user)):
            message = f"Not authorized to launch as user '{user}'"
            return "REASON_TASK_UNAUTHORIZED", message
        if task.id in framework.tasks:
            return "REASON_TASK_INVALID", f"Task has duplicate ID: {task.id}"
        fits = values.contains(left.resources, task.resources)
        if not task.resources or not fits or not ports.contains(left.ports, task.ports):
            message = (
                f"Task uses more resources {_shown(task.resources, task.ports)} than available "
                f"{_shown(left.resources, left.ports)}"
            )
            return "REASON_TASK_INVALID", message
        return None

    async def _decline(self, framework: Framework, body: Json) -> None:
        for item in body.get("offer_ids", ()):
            offer = self._cluster.offers.get(str(item["value"]))
            if offer is not None and offer.framework_id == framework.id:
                self._cluster.remove_offer(offer.id)
                self._allocator.filters.refuse(offer, body.get("filters"))

    async def _kill(self, framework: Framework, body: Json) -> None:
        task_id = str(body["task_id"]["value"])
        task = framework.tasks.get(task_id)
        if task is None:
            agent_id = values.value(body, "agent_id")
            self._answer(framework, task_id, agent_id)
            return
        self._cluster.counters.kills += 1
        message: Json = {
            "type": "KILL_TASK",
            "framework_id": framework.id,
            "task_id": task_id,
        }
        if body.get("kill_policy"):
            message["grace"] = body["kill_policy"].get("grace_period")
        self._cluster.agents[task.agent_id].tell(message)

    async def _reconcile(self, framework: Framework, body: Json) -> None:
        asked: list[Any] = body.get("tasks") or []
        if not asked:
            for task in list(framework.tasks.values()):
                framework.send_status(_latest(task))
            return
        for item in asked:
            agent_id = values.value(item, "agent_id")
            self._answer(framework, str(item["task_id"]["value"]), agent_id)

    def _answer(self, framework: Framework, task_id: str, agent_id: str | None) -> None:
        """One task of a reconciliation, by what is known of it and of its agent."""
        cluster = self._cluster
        task = framework.tasks.get(task_id)
        if task is not None:
            framework.send_status(_latest(task))
            return
        aware = framework.partition_aware
        lost = framework.unreachable.get(task_id)
        if agent_id is None and lost is not None:
            agent_id = lost.agent_id
        if agent_id is not None and agent_id in cluster.recovered:
            return  # It may come back any moment: no answer is the answer.
        if agent_id is None and cluster.recovered:
            return
        if agent_id is not None and agent_id in cluster.agents:
            state, message = "TASK_GONE", "Reconciliation: Task is unknown to the agent"
        elif agent_id is not None and agent_id in cluster.unreachable:
            state, message = "TASK_UNREACHABLE", "Reconciliation: Task is unreachable"
        elif agent_id is not None and agent_id in cluster.gone:
            state, message = "TASK_GONE_BY_OPERATOR", "Reconciliation: Task is gone"
        else:
            state, message = "TASK_UNKNOWN", "Reconciliation: Task is unknown"
        unknown = Task({"task_id": {"value": task_id}}, framework.id, agent_id or "", "*")
        made = status(
            unknown,
            state if aware else "TASK_LOST",
            message=message,
            reason="REASON_RECONCILIATION",
        )
        if agent_id is None:
            del made["agent_id"]
        elif state == "TASK_UNREACHABLE":
            made["unreachable_time"] = values.nanoseconds(cluster.unreachable[agent_id])
        framework.send_status(made)

    async def _acknowledge(self, framework: Framework, body: Json) -> None:
        await self._core.acknowledge(framework, body)

    async def _suppress(self, framework: Framework, body: Json) -> None:
        framework.suppressed |= set(body.get("roles") or framework.roles)

    async def _revive(self, framework: Framework, body: Json) -> None:
        framework.suppressed -= set(body.get("roles") or framework.roles)
        self._allocator.filters.clear(framework.id)
        self._core.candidates.add_all()

    async def _teardown(self, framework: Framework, body: Json) -> None:
        self._core.frameworks.remove(framework)


def _shown(resources: Scalars, held: ports.Ranges) -> str:
    shown = values.text(resources)
    return f"{shown}; ports:{ports.text(held)}" if held else shown


def _latest(task: Task) -> Json:
    """What its framework was last told, not what the agent knows by now: that is on its way."""
    latest: Json = {
        "task_id": {"value": task.id},
        "state": task.status_update_state or task.state,
        "message": "Reconciliation: Latest task state",
        "source": "SOURCE_MASTER",
        "reason": "REASON_RECONCILIATION",
        "agent_id": {"value": task.agent_id},
        "timestamp": values.now(),
    }
    # What the executor last said of its container (its process, for one) is still true.
    if task.statuses and "container_status" in task.statuses[-1]:
        latest["container_status"] = task.statuses[-1]["container_status"]
    return latest


def _require_own(info: Json, principal: str | None) -> None:
    """Refuse whoever is not the principal of a framework.

    Raises:
        CallError: 400.
    """
    named = info.get("principal")
    if principal is not None and named is not None and principal != named:
        raise CallError(
            400,
            "Failed to validate scheduler::Call: Authenticated principal "
            f"'{principal}' does not match principal '{named}' set in `FrameworkInfo`",
        )
