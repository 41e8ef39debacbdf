"""A node's sandbox is a machine of its own, and leaves nothing on this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kubernetes import sandbox
from tests.kubernetes.sandbox_init import ADDRESS, INTERFACE
from tests.leaving import leave_out
from tests.waiting import block_until

_RUN_S_MAX = 60.0
_OTHER = "sandboxed0"
_MARK = "sandboxed-mount"
_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")
_KEEP_ONE = """
import signal, sys
from pathlib import Path
from tests.kubernetes import sandbox
with sandbox.running(Path(sys.argv[1])) as running:
    print(running.pid, *running.groups, flush=True)
    signal.pause()
"""


@pytest.fixture(autouse=True)
def root() -> None:
    """Namespaces of one's own need root."""
    if os.geteuid() != 0:
        leave_out("only root can make a sandbox")


def machine() -> tuple[object, ...]:
    """What of this machine a sandbox could change, and nobody else does meanwhile."""
    names = {path.name for path in Path("/sys/class/net").iterdir()}
    mounts = Path("/proc/self/mountinfo").read_text()
    ours = (_OTHER in names, INTERFACE in names, _MARK in mounts)
    return *ours, _OVERCOMMIT.read_text(), os.uname().nodename


def test_what_is_changed_within_is_as_it_was_outside(tmp_path: Path) -> None:
    before = machine()
    with sandbox.running(tmp_path) as running:
        change = (
            f"ip link add {_OTHER} type bridge && iptables --append INPUT --jump DROP"
            f" && mount -t tmpfs {_MARK} /mnt && echo 2 > /proc/sys/vm/overcommit_memory"
            " && mkdir -p /sys/fs/cgroup/cpu/mine && touch /var/lib/mine /run/mine && echo done"
        )
        assert running.run(["sh", "-c", change], timeout_s=_RUN_S_MAX).strip() == "done"
        assert ADDRESS in running.run(["ip", "address"], timeout_s=_RUN_S_MAX)
        assert running.outside(Path("/var/lib/mine")).exists()

    assert machine() == before
    assert not any(group.exists() for group in running.groups)
    assert not Path("/var/lib/mine").exists()


def test_a_killed_owner_takes_it_along_and_the_next_one_removes_the_rest(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    command = [sys.executable, "-c", _KEEP_ONE, str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, *groups = owner.stdout.readline().split()
        owner.send_signal(signal.SIGKILL)
    block_until(lambda: not Path("/proc", pid).exists(), "the end of its first process")

    second = tmp_path / "second"
    second.mkdir()
    with sandbox.running(second):
        assert not any(Path(group).exists() for group in groups)
