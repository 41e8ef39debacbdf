"""What servers, ACLs and the machine refuse the engine: room, permission, size."""

from __future__ import annotations

import contextlib
import resource
import subprocess
from pathlib import Path

from sync_engine.direction import Side
from sync_engine.wire import ANY_VERSION
from sync_engine.znode import PERM_ALL, PERM_READ, WORLD_ALL, Acl
from tests.robustness.history.acknowledged import Kind
from tests.robustness.matrix.acts import Act
from tests.robustness.matrix.looks import has
from tests.robustness.matrix.stage import Stage
from tests.robustness.matrix.writers import STEADIES
from tests.waiting import until

_THERE_S = 120.0
_LIMITS = "count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit={}"
_READ_ONLY = (Acl(PERM_READ, "world", "anyone"),)
_OTHERS = (Acl(PERM_ALL, "digest", "admin:6e6f626f6479"),)


async def quota_hit(stage: Stage) -> None:
    """Let side b take few more znodes than it has, and write more."""
    root = stage.roots.b
    folder = "/zookeeper/quota"
    async with stage.admin(Side.B) as lane:
        count = len(await stage.nodes(Side.B))
        for part in root.split("/")[1:]:
            folder += f"/{part}"
            if await lane.exists(folder) is None:
                await lane.create(folder, b"", WORLD_ALL)
        limits = _LIMITS.format(count + 3).encode()
        await lane.create(f"{folder}/zookeeper_limits", limits, WORLD_ALL)
        await lane.create(f"{folder}/zookeeper_stats", b"count=0,bytes=0", WORLD_ALL)
    stage.facts["quota"] = folder
    for number in range(10):
        await stage.writers.insist(Side.A, f"/many{number}", Kind.CREATE, b"", WORLD_ALL)


async def quota_lifted(stage: Stage) -> None:
    """Take the quota away."""
    async with stage.admin(Side.B) as lane:
        for name in ("zookeeper_limits", "zookeeper_stats"):
            await lane.delete(f"{stage.facts['quota']}/{name}", ANY_VERSION)


def acl_revoked(side: Side) -> Act:
    """Take a znode away from the engine: it may no longer read it, or no longer write it."""

    async def act(stage: Stage) -> None:
        acl = _OTHERS if side is Side.A else _READ_ONLY
        await until(
            lambda: has(stage, side, STEADIES[0]), f"{STEADIES[0]} on side {side}", _THERE_S
        )
        await stage.writers.insist(side, STEADIES[0], Kind.SET_ACL, acl=acl)

    return act


def acl_given_back(side: Side) -> Act:
    """Let the engine at it again."""

    async def act(stage: Stage) -> None:
        await stage.writers.insist(side, STEADIES[0], Kind.SET_ACL, acl=WORLD_ALL)

    return act


def too_large(size: int) -> Act:
    """Write a znode that the other side cannot take."""

    async def act(stage: Stage) -> None:
        await stage.writers.insist(Side.A, "/large", Kind.CREATE, bytes(size), WORLD_ALL)

    return act


async def made_small(stage: Stage) -> None:
    """Write less into it."""
    await stage.writers.insist(Side.A, "/large", Kind.SET, b"small")


# The machine


async def disk_full(stage: Stage) -> None:
    """Fill the file system of the engine's files."""
    filler = stage.engine.state_dir / "filler"
    stage.facts["filler"] = filler
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        for size in (64 * 1024, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))


async def disk_freed(stage: Stage) -> None:
    """Make room, and start the engine again."""
    stage.facts["filler"].unlink()
    stage.engine.start()


async def files_limited(stage: Stage) -> None:
    """Let no file of the engine grow any more (RLIMIT_FSIZE)."""
    _, hard = resource.prlimit(stage.engine.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(stage.engine.pid, resource.RLIMIT_FSIZE, (4096, hard))


def mounted(folder: Path, size: str) -> None:
    """Put a small file system of its own over a folder; only root may."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def unmounted(folder: Path) -> None:
    """Take it away again."""
    subprocess.run(["umount", str(folder)], check=True, capture_output=True, timeout=30)
