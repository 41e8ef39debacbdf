"""A real HAProxy whose owner is killed: the next owner takes over from it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL
from pathlib import Path
from typing import Any

import httpx

from controllers.edge.haproxy import HAProxy
from controllers.edge.render import Configuration, Layout, render
from controllers.edge.services import Mode, Server, Service
from tests.ports import free_port
from tests.waiting import until

_BOUND_S = 30.0
# An owner that places one configuration and ends without a word.
_OWNER = """
import asyncio, os, sys
from pathlib import Path
from tests.controllers.edge.test_proxy import owned, serving

async def main(program, folder, http, admin):
    proxy, layout = owned(program, Path(folder), int(http), int(admin))
    await proxy.apply(serving(layout, "/before"))
    (Path(folder) / "left").write_text(str(proxy.pid))
    os._exit(9)

asyncio.run(main(*sys.argv[1:]))
"""


def owned(
    program: str, folder: Path, http: int, admin: int, *, hard_stop_s: float = 5
) -> tuple[HAProxy, Layout]:
    """A proxy below `folder`, and where it listens."""
    proxy = HAProxy(program, folder, f"127.0.0.1:{admin}", hard_stop_s=hard_stop_s)
    http_at, admin_at = f"127.0.0.1:{http}", f"127.0.0.1:{admin}"
    return proxy, Layout(http_at, admin_at, "127.0.0.1", str(proxy.socket))


def serving(layout: Layout, name: str) -> Configuration:
    """A configuration with one service of that name."""
    one = Service(name, 0, Mode.HTTP, hosts=("any.example",), servers=(Server("127.0.0.1", 1),))
    return render([one], layout)


def is_there(pid: int) -> bool:
    """Whether a process of that number runs."""
    return Path(f"/proc/{pid}").exists()


async def test_a_proxy_that_a_killed_owner_left_is_taken_over(haproxy: str, run_dir: Path) -> None:
    http, admin = free_port(), free_port()
    words = (sys.executable, "-c", _OWNER, haproxy, str(run_dir), str(http), str(admin))
    # What it says is not read: its proxy says its own in the same place, and holds it open.
    owner = await asyncio.create_subprocess_exec(*words, stdout=DEVNULL, stderr=DEVNULL)
    await asyncio.wait_for(owner.wait(), _BOUND_S)
    left = int((run_dir / "left").read_text())
    proxy, layout = owned(haproxy, run_dir, http, admin)
    try:
        before = serving(layout, "/before")
        assert await proxy.digest() == before.digest

        after = serving(layout, "/after")
        await proxy.apply(after)

        assert await proxy.digest() == after.digest
        await until(lambda: not is_there(left), "the other has ended", _BOUND_S)
    finally:
        await proxy.stop()
        if is_there(left):
            os.kill(left, signal.SIGKILL)


class _Told(HAProxy):
    """Tells when a reload has been asked for, and never that it was made."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.reloads = asyncio.Event()

    async def digest(self) -> str | None:
        self.reloads.set()
        return None


async def test_a_proxy_that_is_told_to_end_while_it_reloads_ends(
    haproxy: str, run_dir: Path
) -> None:
    admin = free_port()
    looking, layout = owned(haproxy, run_dir, free_port(), admin)
    proxy = _Told(haproxy, run_dir, f"127.0.0.1:{admin}", hard_stop_s=3600)

    async def serves() -> bool:
        return await looking.digest() is not None

    master: int | None = None
    try:
        async with asyncio.timeout(_BOUND_S):
            for name in ("/before", "/after"):
                proxy.reloads.clear()
                applying = asyncio.create_task(proxy.apply(serving(layout, name)))
                await proxy.reloads.wait()
                if name == "/before":
                    await until(serves, "it serves", _BOUND_S)
                applying.cancel()
            master = proxy.pid

            await proxy.stop()

        assert master is not None
        assert not is_there(master)
    finally:
        await looking.stop()
        if master is not None and is_there(master):
            os.kill(master, signal.SIGKILL)


# Whoever owns it may check configurations with it; it misses the first signal.
_DEAF_ONCE = """#!/bin/sh
case "$1" in -c) exit 0;; esac
trap 'trap "exit 0" USR1' USR1
touch {ready}
while :; do sleep 0.05; done
"""


async def test_a_master_that_misses_that_it_is_to_end_is_told_again(run_dir: Path) -> None:
    program, ready = run_dir / "deaf", run_dir / "ready"
    program.write_text(_DEAF_ONCE.format(ready=ready))
    program.chmod(0o755)
    admin = f"127.0.0.1:{free_port()}"
    proxy = _Told(str(program), run_dir, admin, hard_stop_s=3600)
    layout = Layout("127.0.0.1:1", admin, "127.0.0.1", str(proxy.socket))
    applying = asyncio.create_task(proxy.apply(serving(layout, "/any")))
    async with asyncio.timeout(_BOUND_S):
        await proxy.reloads.wait()
        await until(ready.exists, "it hears signals", _BOUND_S)
        applying.cancel()
        master = proxy.pid
        assert master is not None
        try:
            await proxy.stop()

            assert not is_there(master)
        finally:
            if is_there(master):
                os.kill(master, signal.SIGKILL)


async def test_a_proxy_that_ends_finishes_what_it_serves(haproxy: str, run_dir: Path) -> None:
    asked, finish = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Checks of the connection send nothing.
        if await reader.read(65_536):
            asked.set()
            await finish.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
        writer.close()

    http = free_port()
    proxy, layout = owned(haproxy, run_dir, http, free_port(), hard_stop_s=3600)

    async def takes_nobody() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", http)
        except ConnectionRefusedError:
            return True
        writer.close()
        return False

    async with await asyncio.start_server(slow, "127.0.0.1") as server:
        at = Server("127.0.0.1", server.sockets[0].getsockname()[1])
        service = Service("/slow", 0, Mode.HTTP, hosts=("any.example",), servers=(at,))
        await proxy.apply(render([service], layout))
        async with httpx.AsyncClient(trust_env=False, timeout=_BOUND_S) as client:
            url, host = f"http://127.0.0.1:{http}/", {"host": "any.example"}
            asking = asyncio.create_task(client.get(url, headers=host))
            async with asyncio.timeout(_BOUND_S):
                await asked.wait()
                stopping = asyncio.create_task(proxy.stop())
                await until(takes_nobody, "it takes no more connections", _BOUND_S)
                assert not stopping.done()
                finish.set()
                await stopping
            answer = await asking

    assert (answer.status_code, answer.text) == (200, "done")
