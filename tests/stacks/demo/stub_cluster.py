"""Answers as framework, agent and client group of a cluster do, from one port."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from stacks.demo.addresses import Addresses
from stacks.local.process import Listener
from stacks.topology import Color
from tests.ports import free_port


def framework_state() -> dict[str, Any]:
    """One task, which is this process."""
    return {
        "target": 1,
        "healthy": 1,
        "registered_with": "127.0.0.1:5050",
        "framework_id": "framework-1",
        "subscriptions": [{"at": 1.0, "master": "127.0.0.1:5050"}],
        "replacements": [
            {"task": "task-0", "replacement": "task-1"},
            {"task": "task-2", "replacement": None},
        ],
        "tasks": [{"id": "task-1", "pid": os.getpid(), "healthy": True}],
    }


@dataclass
class StubCluster:
    """What it answers; tests change it while it runs."""

    addresses: Addresses
    is_framework_away: bool = False
    state: dict[str, Any] = field(default_factory=framework_state)


@asynccontextmanager
async def running() -> AsyncGenerator[StubCluster]:
    """A cluster that answers."""
    port = free_port()
    base = f"127.0.0.1:{port}"
    addresses = Addresses(
        run_dir=Path(),
        framework=f"http://{base}/framework",
        clients={"traffic": f"http://{base}/traffic"},
        agents={Color.BLUE: (base,)},
    )
    stub = StubCluster(addresses)

    async def framework(_: Request) -> Response:
        if stub.is_framework_away:
            return PlainTextResponse("away", 503)
        return JSONResponse(stub.state)

    async def agent(_: Request) -> Response:
        history = [{"at": 1.0, "event": "registered", "master": "127.0.0.1:5050"}]
        return JSONResponse({"registrations": history, "tasks": []})

    async def traffic(_: Request) -> Response:
        numbers = {"acknowledged": 5, "rate_per_s": 200.0, "znodes": 1000, "refused": 0}
        return JSONResponse({"hosts": "h", **numbers})

    app = Starlette(
        routes=[
            Route("/framework/state", framework),
            Route("/state", agent),
            Route("/traffic/status", traffic),
        ]
    )
    listener = Listener(app, "127.0.0.1", port)
    await listener.start()
    try:
        yield stub
    finally:
        await listener.stop()
