"""The v1 operator API: calls of people and programs that run a cluster.

Statuses and error texts are those of recorded exchanges with a real master, its oddities included:
unknown fields are ignored, weights and maintenance answer 200, and a cleared quota stays listed.
Quota and maintenance have modules of their own; here is the dispatch and the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from stacks.local.errors import CallError
from stacks.local.mesos import maintenance, quota, registry, render, values
from stacks.local.mesos.access import Access
from stacks.local.mesos.cluster import Cluster
from stacks.local.mesos.core import Core
from stacks.local.mesos.values import Json

# Fields that hold messages, by name: a string there is refused with the text of a real master.
_MESSAGES = frozenset(
    {
        "agent_id",
        "max_grace_period",
        "schedule",
        "unavailability",
        "start",
        "duration",
        "framework_id",
        "timeout",
        "guarantees",
        "limits",
    }
)
_WITH_BODY = frozenset(
    {
        "GET_METRICS",
        "UPDATE_WEIGHTS",
        "UPDATE_QUOTA",
        "UPDATE_MAINTENANCE_SCHEDULE",
        "START_MAINTENANCE",
        "STOP_MAINTENANCE",
        "DRAIN_AGENT",
        "DEACTIVATE_AGENT",
        "REACTIVATE_AGENT",
        "MARK_AGENT_GONE",
        "TEARDOWN",
    }
)


def parse(body: bytes) -> Json:
    """Read a call.

    Raises:
        CallError: no JSON, no type, no body where one is wanted, or a string in place of a message.
    """
    text = body.decode(errors="replace")
    try:
        call = json.loads(text)
    except ValueError as error:
        position = getattr(error, "pos", 0)
        line = getattr(error, "lineno", 1)
        near = text[position:].partition("\n")[0]
        raise CallError(
            400, f"Failed to parse body into JSON: syntax error at line {line} near: {near}"
        ) from None
    if not isinstance(call, dict):
        raise CallError(400, "Failed to parse body into JSON: expecting a JSON object")
    found = cast("Json", call)
    _check_messages(found)
    return found


def _check_messages(value: Any) -> None:
    if isinstance(value, list):
        for item in cast("list[Any]", value):
            _check_messages(item)
    elif isinstance(value, dict):
        for key, item in cast("Json", value).items():
            if key in _MESSAGES and isinstance(item, str):
                raise CallError(
                    400,
                    "Failed to convert JSON into Call protobuf: Not expecting a JSON string for "
                    f"field '{key}'",
                )
            _check_messages(item)


class OperatorApi:
    """Answers calls on a leading master."""

    def __init__(
        self,
        core: Core,
        *,
        flags: Callable[[], Json],
        metrics: Callable[[], dict[str, float]],
        master: Callable[[], Json],
        access: Access,
    ) -> None:
        self._core = core
        self._cluster = core.cluster
        self._flags = flags
        self._metrics = metrics
        self._master = master
        self._access = access
        # Answers from what the caller may see.
        self._views: dict[str, Callable[[Cluster], Json]] = {
            "GET_STATE": render.state,
            "GET_AGENTS": render.agents,
            "GET_FRAMEWORKS": render.frameworks,
            "GET_EXECUTORS": render.executors,
            "GET_TASKS": render.tasks,
        }
        self._reads: dict[str, Callable[[str | None], Json]] = {
            "GET_HEALTH": lambda _: {"healthy": True},
            "GET_VERSION": lambda _: {"version_info": {"version": values.VERSION, **values.BUILD}},
            "GET_FLAGS": lambda _: {
                "flags": [{"name": k, "value": v} for k, v in self._flags().items()]
            },
            "GET_METRICS": lambda _: {
                "metrics": [{"name": k, "value": v} for k, v in self._metrics().items()]
            },
            "GET_OPERATIONS": lambda _: {},
            "GET_ROLES": self._roles,
            "GET_WEIGHTS": self._weights,
            "GET_MASTER": lambda _: self._master(),
            "GET_QUOTA": lambda who: {"status": self._quota(who)},
            "GET_MAINTENANCE_SCHEDULE": lambda _: {
                "schedule": maintenance.schedule(self._core.document)
            },
            "GET_MAINTENANCE_STATUS": lambda _: {"status": maintenance.status(self._core.document)},
            "LIST_FILES": lambda _: {"file_infos": []},
            "GET_LOGGING_LEVEL": lambda _: {"level": 0},
        }

    async def call(  # noqa: C901, PLR0912 - one case a call
        self, call: Json, principal: str | None = None
    ) -> Json | None:
        """Answer a call of a principal; None is an answer without body.

        Raises:
            CallError: with the status and text of the answer.
        """
        kind = str(call.get("type"))
        name = kind.lower()
        if kind in _WITH_BODY and not isinstance(call.get(name), dict):
            raise CallError(
                400, f"Failed to validate master::Call: Expecting '{name}' to be present"
            )
        body: Json = call.get(name) or {}
        self._access.require_call(call, principal)
        view, read = self._views.get(kind), self._reads.get(kind)
        if view is not None:
            return {"type": kind, name: view(self._access.view(self._cluster, principal))}
        if read is not None:
            answer = read(principal)
            # An answer without content has no field of its own name.
            return {"type": kind, name: answer}
        match kind:
            case "UPDATE_WEIGHTS":
                await self._update_weights(body)
            case "UPDATE_QUOTA":
                await quota.update(self._core, body)
            case "UPDATE_MAINTENANCE_SCHEDULE":
                await maintenance.update(self._core, body)
            case "START_MAINTENANCE":
                await maintenance.start(self._core, body)
            case "STOP_MAINTENANCE":
                await maintenance.stop(self._core, body)
            case "DRAIN_AGENT":
                await self._drain(body)
            case "DEACTIVATE_AGENT":
                await self._deactivate(body)
            case "REACTIVATE_AGENT":
                await self._reactivate(body)
            case "MARK_AGENT_GONE":
                await self._mark_gone(body)
            case "TEARDOWN":
                self.teardown(body, principal)
            case _:
                raise CallError(
                    400, "Failed to validate master::Call: Expecting 'type' to be present"
                )
        return None

    # Roles and weights

    def known_roles(self) -> list[str]:
        """Roles in use, or with a weight or quota of their own."""
        roles = {role for f in self._cluster.frameworks.values() for role in f.roles}
        roles |= set(registry.section(self._core.document, "weights"))
        roles |= {
            role
            for role, config in registry.section(self._core.document, "quota").items()
            if len(config) > 1
        }
        return sorted(roles)

    def weight(self, role: str) -> float:
        """A role's weight; 1 unless set."""
        return float(registry.section(self._core.document, "weights").get(role, 1.0))

    def _quota(self, principal: str | None) -> Json:
        status = quota.status(self._core.document)
        return {
            part: [
                one
                for one in found
                if self._access.allows("get_quotas", principal, str(one["role"]))
            ]
            for part, found in status.items()
        }

    def _roles(self, principal: str | None) -> Json:
        roles: list[Json] = []
        for role in self._access.roles("view_roles", self.known_roles(), principal):
            frameworks = [f for f in self._cluster.frameworks.values() if role in f.roles]
            rendered: Json = {"name": role, "weight": self.weight(role)}
            if frameworks:
                rendered["frameworks"] = [{"value": f.id} for f in frameworks]
            used = values.scalar_list(self._cluster.consumed(role))
            if used:
                rendered["resources"] = used
            roles.append(rendered)
        return {"roles": roles}

    def _weights(self, principal: str | None) -> Json:
        weights = registry.section(self._core.document, "weights")
        seen = self._access.roles("view_roles", sorted(weights), principal)
        return {"weight_infos": [{"weight": weights[role], "role": role} for role in seen]}

    async def _update_weights(self, body: Json) -> None:
        weights: dict[str, float] = {}
        for info in body.get("weight_infos", ()):
            role, weight = str(info["role"]).strip(), float(info["weight"])
            if weight <= 0:
                raise CallError(
                    400,
                    f"Failed to validate update weights request JSON for role '{role}': Invalid "
                    f"weight '{values.number(weight)}': Weights must be positive",
                )
            weights[role] = weight
        await self._core.store(registry.set_weights(weights))
        self._core.candidates.add_all()

    # Agents

    def _is_expected(self, agent_id: str) -> bool:
        """Whether an agent that is not registered now may come back."""
        return agent_id in self._cluster.recovered or agent_id in self._cluster.unreachable

    async def _drain(self, body: Json) -> None:
        agent_id = str(body["agent_id"]["value"])
        agent = self._cluster.agents.get(agent_id)
        config: Json = {}
        if "max_grace_period" in body:
            seconds = values.duration_s(body["max_grace_period"], 0.0)
            config["max_grace_period"] = values.nanoseconds(seconds)
        config["mark_gone"] = bool(body.get("mark_gone", False))
        # Whole seconds, as recorded.
        marks: Json = {
            "deactivated": True,
            "drain_info": {"state": "DRAINING", "config": config},
            "drain_started_at": float(int(values.now())),
        }
        if agent is None and self._is_expected(agent_id):
            # It begins to drain when it comes back.
            await self._core.store(registry.mark(agent_id, marks))
            return
        if agent is None:
            raise CallError(400, "Unknown agent")
        agent.deactivated, agent.drain_info = True, marks["drain_info"]
        agent.drain_started_at = marks["drain_started_at"]
        self._cluster.rescind_agent(agent)
        await self._core.store(registry.mark(agent.id, self._core.marks(agent)))
        agent.tell({"type": "DRAIN", "config": config})
        await self._core.check_drained(agent)

    async def _deactivate(self, body: Json) -> None:
        agent_id = str(body["agent_id"]["value"])
        agent = self._cluster.agents.get(agent_id)
        if agent is None and self._is_expected(agent_id):
            await self._core.store(registry.mark(agent_id, {"deactivated": True}))
            return
        if agent is None:
            raise CallError(400, "Unknown agent")
        agent.deactivated = True
        self._cluster.rescind_agent(agent)
        await self._core.store(registry.mark(agent.id, self._core.marks(agent)))

    async def _reactivate(self, body: Json) -> None:
        agent_id = str(body["agent_id"]["value"])
        agent = self._cluster.agents.get(agent_id)
        marked = agent_id in registry.section(self._core.document, "marks")
        if agent is None and marked and self._is_expected(agent_id):
            await self._core.store(registry.mark(agent_id, None))
            return
        if agent is None or not agent.deactivated:
            raise CallError(400, "Agent is not deactivated")
        if agent.drain_info is not None and agent.drain_info["state"] == "DRAINING":
            raise CallError(400, "Agent is still in the DRAINING state")
        agent.deactivated, agent.drain_info, agent.drain_started_at = False, None, None
        await self._core.store(registry.mark(agent.id, None))
        agent.tell({"type": "REACTIVATE"})
        self._core.candidates.add(agent.id)

    async def _mark_gone(self, body: Json) -> None:
        agent_id = str(body["agent_id"]["value"])
        cluster = self._cluster
        if agent_id in cluster.gone:
            return
        known = {*cluster.agents, *cluster.recovered, *cluster.unreachable}
        if agent_id not in known:
            raise CallError(404, f"Agent '{agent_id}' not found")
        await self._core.mark_gone(agent_id)

    def teardown(self, body: Json, principal: str | None = None) -> None:
        """TEARDOWN: complete a framework.

        Raises:
            CallError: unknown, or not allowed.
        """
        framework = self._cluster.frameworks.get(str(body["framework_id"]["value"]))
        if framework is None:
            raise CallError(400, "No framework found with specified ID")
        owner = framework.info.get("principal")
        self._access.require("teardown_frameworks", principal, owner)
        self._core.frameworks.remove(framework)
