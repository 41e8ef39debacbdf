"""The agent's HTTP interface: health, and a state that shows whom it is registered with.

`registered_with`, `leader` and `registrations` are the stand-in's own additions: the time that
agents were without a leader that they accept is read from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from stacks.local.mesos import values
from stacks.local.mesos.flags import agent_flags

if TYPE_CHECKING:
    from stacks.local.mesos.agent import Agent
    from stacks.local.mesos.values import Json

_PAGE = """<!doctype html><title>Stand-in for a Mesos agent</title>
<h1>Stand-in for a Mesos agent</h1>
<p>This is not Apache Mesos. See <a href="/state">/state</a>.</p>"""


def state(agent: Agent) -> Json:
    """/state."""
    records = list(agent.tasks.records.values())
    total = values.scalars(agent.info["resources"])
    return {
        "version": values.VERSION,
        **values.BUILD,
        "start_time": agent.started_at,
        "id": agent.id,
        "pid": agent.pid,
        "hostname": agent.info["hostname"],
        "port": agent.info["port"],
        "resources": values.legacy(total, values.port_ranges(agent.info["resources"])),
        "attributes": {a["name"]: a["text"]["value"] for a in agent.info["attributes"]},
        "master_hostname": agent.leader and agent.leader.hostname,
        "leader": agent.leader and agent.leader.address,
        "registered_with": agent.registered_with,
        "registered_at": agent.registered_at,
        "master_id": agent.master_id,
        "registrations": list(agent.history),
        "tasks": [
            {
                "id": record.task_id,
                "framework_id": record.framework_id,
                "state": record.state,
                "pid": record.pid,
                "started": record.started,
                "container_id": record.container_id,
                "directory": record.sandbox,
                "launched_at": record.launched_at,
                "unacknowledged": len(record.pending),
            }
            for record in records
        ],
    }


def containers(agent: Agent) -> list[Json]:
    """/containers. Executors of commands have the names that Mesos gives them."""
    return [
        {
            "container_id": record.container_id,
            "executor_id": record.task_id,
            "executor_name": f"Command Executor (Task: {record.task_id})",
            "framework_id": record.framework_id,
            "source": record.task_id,
            "status": {
                "container_id": {"value": record.container_id},
                "executor_pid": record.pid,
            },
        }
        for record in agent.tasks.records.values()
        if not record.is_terminal
    ]


def make_app(agent: Agent) -> Starlette:
    """The application of one agent."""

    async def health(_: Request) -> Response:
        return Response(status_code=200)

    async def show(_: Request) -> Response:
        return JSONResponse(state(agent))

    async def show_containers(_: Request) -> Response:
        return JSONResponse(containers(agent))

    async def flags(_: Request) -> Response:
        return JSONResponse({"flags": agent_flags(agent.settings)})

    async def metrics(_: Request) -> Response:
        running = sum(1 for r in agent.tasks.records.values() if r.state == "TASK_RUNNING")
        return JSONResponse(
            {
                "slave/registered": float(agent.registered_with is not None),
                "slave/tasks_running": float(running),
                "slave/uptime_secs": values.now() - agent.started_at,
                "slave/recovery_errors": 0.0,
            }
        )

    async def page(_: Request) -> Response:
        return HTMLResponse(_PAGE)

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/slave(1)/health", health),
            Route("/state", show),
            Route("/slave(1)/state", show),
            Route("/containers", show_containers),
            Route("/slave(1)/containers", show_containers),
            Route("/flags", flags),
            Route("/slave(1)/flags", flags),
            Route("/metrics/snapshot", metrics),
            Route("/", page),
        ]
    )
