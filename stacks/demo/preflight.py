"""What must hold before anything is started, in the order in which it is cheapest to find out.

Each refusal is one message, and leaves things as they were; leftovers of an interrupted run are
removed on the way.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from components.targets import supervisor_files
from stacks import environment, lease
from stacks.demo import local_stack, removal
from stacks.demo.errors import AnotherRunsError, RefusedError
from stacks.demo.port_block import Block
from stacks.local.zookeeper import ZOOKEEPER
from tools import locate

# Six ZooKeeper servers preallocate 64 MB of log each and roll it once or twice; the rest is logs.
FREE_BYTES_MIN = 2 * 1024**3
Tell = Callable[[str], None]


@contextmanager
def only_one(project_dir: Path) -> Generator[None]:
    """Be the only demo of this checkout.

    Raises:
        AnotherRunsError: another one runs.
        RefusedError: the checkout cannot be written.
    """
    folder = environment.local_folder(project_dir)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        file = (folder / "demo.lock").open("a+")
    except OSError as error:
        msg = f"expected to write in {folder}, saw {error.strerror}. Make space, or check its owner"
        raise RefusedError(msg) from None

    def refuse(holder: str) -> RefusedError:
        return AnotherRunsError(
            f"expected no other demo in {project_dir}, saw {holder}. Wait for its end, or "
            "interrupt it there with Ctrl-C; a demo in another checkout may run beside it"
        )

    with file, lease.hold(file, f"process {os.getpid()}", refuse):
        yield


def prepare(project_dir: Path, tell: Tell) -> Block:
    """Check what the demo needs, and have a configuration with free ports; returns them, held.

    Raises:
        RefusedError: something is missing, or somebody migrates what was left.
        ConfigError: Pulumi.local.yaml is wrong.
        StackError, ComponentError: leftovers cannot be removed.
    """
    check_programs()
    supervisor_files.check_readable(local_stack.run_dir(project_dir))
    local_stack.read(project_dir)
    try:
        environment.apply(project_dir, own=True)
        if removal.anything_left(project_dir):
            tell(_leftovers(project_dir))
            removal.remove(project_dir)
        check_space(project_dir)
        return local_stack.prepare(project_dir)
    except OSError as error:
        msg = (
            f"expected to write in {project_dir}, saw {error.strerror} ({error.filename}). "
            "Make space, or check the owner"
        )
        raise RefusedError(msg) from None


def _leftovers(project_dir: Path) -> str:
    if (environment.local_folder(project_dir) / removal.KEPT).exists():
        return "removing the cluster that an earlier demo kept running"
    return "removing what an interrupted demo left"


def check_programs() -> None:
    """The outside programs are installed.

    Raises:
        RefusedError: naming the one that is not.
    """
    engine = Path(sys.prefix) / "bin" / "pulumi"
    if not os.access(engine, os.X_OK):
        msg = f"expected the Pulumi engine at {engine}, saw none. Run `make tools`"
        raise RefusedError(msg)
    try:
        locate.folder(ZOOKEEPER)
    except locate.ToolMissingError as error:
        raise RefusedError(str(error)) from None
    if locate.java() is None:
        msg = "expected java (JDK 17 or newer) on PATH or in JAVA_HOME, saw none. Install a JDK"
        raise RefusedError(msg)


def check_space(project_dir: Path) -> None:
    """There is room for what runs.

    Raises:
        RefusedError: saying how much is missing.
    """
    free = shutil.disk_usage(project_dir).free
    if free < FREE_BYTES_MIN:
        msg = (
            f"expected {FREE_BYTES_MIN >> 20} MB free for {project_dir}, saw {free >> 20} MB. "
            "Make space, or work in a checkout elsewhere"
        )
        raise RefusedError(msg)
