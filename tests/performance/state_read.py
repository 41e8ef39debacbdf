"""How long reading a large cluster's state takes, and how much memory: target and measured.

    .venv/bin/python -m tests.performance.state_read [AGENTS] [TASKS]

A server in a process of its own sends GET_STATE of that size over loopback; the client's process
measures the wall clock of `OperatorClient.state()` and by how much its peak memory grew.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import resource
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from clients.mesos import OperatorClient
from clients.mesos.recordio import Decoder

TARGET_S, TARGET_MB = 2.0, 300.0
TIMEOUT_S = 120.0
_RECORDED = Path(__file__).parents[1] / "fixtures" / "mesos" / "subscribe.recordio"
Json = dict[str, Any]


def make_state(agents: int, tasks: int) -> bytes:
    """A state of that size, of agents and tasks as a real master tells them."""
    (first, *_) = Decoder().feed(_RECORDED.read_bytes())
    state: Json = json.loads(first)["subscribed"]["get_state"]
    agent = json.dumps(state["get_agents"]["agents"][0])
    agent_id = state["get_agents"]["agents"][0]["agent_info"]["id"]["value"]
    task = json.dumps(state["get_tasks"]["tasks"][0])
    task_id = state["get_tasks"]["tasks"][0]["task_id"]["value"]
    task_agent = state["get_tasks"]["tasks"][0]["agent_id"]["value"]
    ids = [f"{agent_id.rpartition('-')[0]}-S{number}" for number in range(agents)]
    all_agents = ",".join(agent.replace(agent_id, one) for one in ids)
    all_tasks = ",".join(
        task.replace(task_id, f"task-{number:06}").replace(task_agent, ids[number % agents])
        for number in range(tasks)
    )
    frameworks = json.dumps(state["get_frameworks"])
    return (
        f'{{"type":"GET_STATE","get_state":{{"get_tasks":{{"tasks":[{all_tasks}]}},'
        f'"get_frameworks":{frameworks},"get_agents":{{"agents":[{all_agents}]}}}}}}'
    ).encode()


def serve(agents: int, tasks: int, told: Connection) -> None:
    """Answer every call with that state."""
    body = make_state(agents, tasks)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        writer.write(body)
        await writer.drain()
        writer.close()

    async def work() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        told.send((server.sockets[0].getsockname()[1], len(body)))
        await server.serve_forever()

    asyncio.run(work())


def peak_mb() -> float:
    """This process's peak so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@dataclass(frozen=True)
class Measured:
    """One reading. `used_mb` is above what was used before."""

    wall_s: float
    cpu_s: float
    used_mb: float
    agents: int
    tasks: int


async def measure(port: int) -> Measured:
    """Read the state once."""
    async with OperatorClient([f"127.0.0.1:{port}"], timeout_s=TIMEOUT_S) as client:
        before, cpu, start = peak_mb(), time.process_time(), time.perf_counter()
        state = await client.state()
        return Measured(
            wall_s=time.perf_counter() - start,
            cpu_s=time.process_time() - cpu,
            used_mb=peak_mb() - before,
            agents=len(state.agents.registered),
            tasks=len(state.tasks.live),
        )


def start_server(agents: int, tasks: int) -> tuple[SpawnProcess, int, int]:
    """A server in a process of its own, its port, and the size of its answer."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(agents, tasks, theirs), daemon=True)
    server.start()
    port, size = ours.recv()
    return server, int(port), int(size)


def main(agents: int = 5000, tasks: int = 100_000) -> None:
    """Print target and measured."""
    for count in (0, tasks):
        server, port, size = start_server(agents, count)
        try:
            seen = asyncio.run(measure(port))
        finally:
            server.terminate()
            server.join()
        load = os.getloadavg()[0]
        sys.stdout.write(
            f"state of {seen.agents} agents and {seen.tasks} tasks ({size / 1e6:.0f} MB): "
            f"{seen.wall_s:.2f} s (target {TARGET_S:g} s), {seen.cpu_s:.2f} s of them at work, "
            f"{seen.used_mb:.0f} MB more (target {TARGET_MB:g} MB); load {load:.1f}\n"
        )


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:3]))
