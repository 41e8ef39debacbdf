"""A state of any size, served by one process and read by another.

A server sends GET_STATE over loopback; the reader, which has nothing else in its memory, measures
the wall clock of `OperatorClient.state()` and by how much its peak grew, then the same of a plain
`json.loads` of the whole text.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from clients.mesos import OperatorClient
from clients.mesos.recordio import Decoder

TIMEOUT_S = 120.0
_RECORDED = Path(__file__).parents[2] / "fixtures" / "mesos" / "subscribe.recordio"
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
    """This process's peak so far; what getrusage says begins with the process it was made by."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@dataclass(frozen=True)
class Measured:
    """One reading. `used_mb` is above what was used before; `plain` is that of json.loads."""

    wall_s: float
    cpu_s: float
    used_mb: float
    agents: int
    tasks: int
    size_mb: float
    plain_s: float
    plain_cpu_s: float
    plain_mb: float


async def _read(port: int, size: int) -> Measured:
    async with OperatorClient([f"127.0.0.1:{port}"], timeout_s=TIMEOUT_S) as client:
        before, cpu, start = peak_mb(), time.process_time(), time.perf_counter()
        state = await client.state()
        wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    used_mb, agents, tasks = peak_mb() - before, state.agents.registered, state.tasks.live
    counts = len(agents), len(tasks)
    del state, agents, tasks
    text = await _whole(port)
    before, cpu, start = peak_mb(), time.process_time(), time.perf_counter()
    json.loads(text)
    plain = time.perf_counter() - start, time.process_time() - cpu, peak_mb() - before + size / 1e6
    return Measured(wall_s, cpu_s, used_mb, *counts, size / 1e6, *plain)


async def _whole(port: int) -> bytes:
    """The same answer as one text."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    text = await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
    writer.close()
    return text


def _reader(port: int, size: int, told: Connection) -> None:
    told.send(asyncio.run(_read(port, size)))


async def measured(agents: int, tasks: int) -> Measured:
    """Read a state of that size in a process of its own."""
    server, port, size = await asyncio.to_thread(start_server, agents, tasks)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    reader = context.Process(target=_reader, args=(port, size, theirs), daemon=True)
    reader.start()
    try:
        return await asyncio.to_thread(ours.recv)
    finally:
        for process in (server, reader):
            process.terminate()
            process.join()


def start_server(agents: int, tasks: int) -> tuple[SpawnProcess, int, int]:
    """A server in a process of its own, its port, and the size of its answer."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(agents, tasks, theirs), daemon=True)
    server.start()
    port, size = ours.recv()
    return server, int(port), int(size)
