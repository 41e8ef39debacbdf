"""Health checks of the executor, one at a time and over time."""

from __future__ import annotations

import asyncio
from pathlib import Path

from stacks.local.mesos.checks import Health, HealthCheck, is_healthy, watch


def check(kind: str, body: dict[str, object], **more: float) -> HealthCheck:
    given = {"type": kind, kind.lower(): body, "delay_seconds": 0, "interval_seconds": 0.01, **more}
    made = HealthCheck.read({"health_check": given})
    assert made is not None
    return made


async def ask(one: HealthCheck, folder: Path) -> bool:
    return await is_healthy(one, address="127.0.0.1", sandbox=folder, environment={"WORD": "yes"})


async def test_a_command_says_by_its_status(tmp_path: Path) -> None:
    assert await ask(check("COMMAND", {"value": '[ "$WORD" = yes ]'}), tmp_path)
    assert not await ask(check("COMMAND", {"value": "exit 3"}), tmp_path)
    slow = check("COMMAND", {"value": "sleep 100"}, timeout_seconds=0.05)
    assert not await ask(slow, tmp_path)


async def test_a_port_and_a_page_are_asked_for(tmp_path: Path) -> None:
    status = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1024):
            writer.write(status)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await ask(check("TCP", {"port": port}), tmp_path)
    assert await ask(check("HTTP", {"port": port, "path": "/x"}), tmp_path)
    status = status.replace(b"200 OK", b"500 No")
    assert not await ask(check("HTTP", {"port": port}), tmp_path)
    server.close()
    await server.wait_closed()
    assert not await ask(check("TCP", {"port": port}), tmp_path)


async def follow(one: HealthCheck, folder: Path, count: int) -> list[Health]:
    seen: list[Health] = []
    enough = asyncio.Event()

    def report(health: Health) -> None:
        seen.append(health)
        if len(seen) >= count:
            enough.set()

    work = asyncio.ensure_future(
        watch(one, address="127.0.0.1", sandbox=folder, environment={}, report=report)
    )
    await asyncio.wait_for(enough.wait(), 20)
    work.cancel()
    return seen[:count]


async def test_after_so_many_failures_the_task_is_to_go(tmp_path: Path) -> None:
    one = check("COMMAND", {"value": "[ ! -e bad ]"}, consecutive_failures=2)
    work = asyncio.ensure_future(follow(one, tmp_path, 3))
    await asyncio.sleep(0.05)
    (tmp_path / "bad").touch()
    assert await work == [Health.HEALTHY, Health.UNHEALTHY, Health.HOPELESS]


async def test_failures_do_not_count_in_the_grace_period(tmp_path: Path) -> None:
    marker = tmp_path / "tries"
    command = f"echo x >> {marker}; [ $(wc -l < {marker}) -ge 3 ]"
    one = check("COMMAND", {"value": command}, grace_period_seconds=100, consecutive_failures=1)
    assert await follow(one, tmp_path, 1) == [Health.HEALTHY]
