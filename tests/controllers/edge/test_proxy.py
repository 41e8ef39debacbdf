"""A real HAProxy whose owner is killed: the next owner takes over from it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL
from pathlib import Path

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


def owned(program: str, folder: Path, http: int, admin: int) -> tuple[HAProxy, Layout]:
    """A proxy below `folder`, and where it listens."""
    proxy = HAProxy(program, folder, f"127.0.0.1:{admin}", hard_stop_s=5)
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
