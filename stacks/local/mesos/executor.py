"""Tasks as real processes that outlive the agent: start, recognise, watch, end.

Each task runs below a small shell of its own session, the executor. The shell writes its process id
and, at the end, the exit status of the task into the sandbox, so that an agent that was away while
a task ended still learns how. A process is recognised by its id *and* start time, because ids come
round again. Nothing here is ended by name.

A task that was told to end before it ran must not run: it would begin with SIGTERM ignored. The
shell notes in a file that it was told before it tells its session; the task looks for it when it
hears signals itself, so that it either finds the note or hears the signal.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """\
echo $$ > executor.pid.new && mv executor.pid.new executor.pid
trap '' HUP INT
trap "trap '' TERM; echo > executor.told; kill -TERM 0" TERM
([ ! -e executor.told ] || exit 143
for group in $MESOS_CGROUPS; do echo 0 > "$group/cgroup.procs" || exit 125; done
exec /bin/sh -c "$1") > stdout 2> stderr < /dev/null & child=$!
while :; do wait $child; code=$?; kill -0 $child 2>/dev/null || break; done
echo $code > exit.new && mv exit.new exit
"""
# The rig's mark of who started a process goes on to tasks: it finds them when their agent is
# removed.
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")
_MARK_PREFIX = "MESOS_PLATFORM_"
_SIGNALLED = 128


@dataclass(frozen=True)
class Process:
    """A process that cannot be mistaken for another one of the same id."""

    pid: int
    started: int

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return start_time(self.pid) == self.started


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None for a dead one or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def start(
    command: str, sandbox: Path, environment: Mapping[str, str], cgroups: Sequence[Path] = ()
) -> Process | None:
    """Start a task in control groups; None when it ended before it could be looked at."""
    sandbox.mkdir(parents=True, exist_ok=True)
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED or name.startswith(_MARK_PREFIX)
    }
    with (sandbox / "executor.log").open("ab") as log:
        child = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT, "mesos-executor", command],
            cwd=sandbox,
            env={
                **inherited,
                **environment,
                "MESOS_SANDBOX": str(sandbox),
                "MESOS_CGROUPS": " ".join(map(str, cgroups)),
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    # Waited for below by its id; Popen must not do so, too.
    child.returncode = 0
    started = start_time(child.pid)
    return None if started is None else Process(child.pid, started)


def find(sandbox: Path) -> Process | None:
    """The executor that a sandbox tells of, when its agent died before it could note it."""
    try:
        pid = int((sandbox / "executor.pid").read_text())
    except (OSError, ValueError):
        return None
    started = start_time(pid)
    if started is None or not _is_executor(pid, sandbox):
        return None
    return Process(pid, started)


def _is_executor(pid: int, sandbox: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").resolve() == sandbox.resolve()
    except OSError:
        return False


def exit_code(sandbox: Path) -> int | None:
    """How the task ended; None when nobody could say."""
    try:
        return int((sandbox / "exit").read_text())
    except (OSError, ValueError):
        return None


def ending(code: int | None, *, killed: bool) -> tuple[str, str]:
    """Final state and message, in Mesos' words."""
    if killed:
        return "TASK_KILLED", "Command terminated with signal Terminated"
    if code == 0:
        return "TASK_FINISHED", "Command exited with status 0"
    if code is None:
        return "TASK_FAILED", "Command terminated with signal Killed"
    if code > _SIGNALLED:
        name = signal.strsignal(code - _SIGNALLED) or str(code - _SIGNALLED)
        return "TASK_FAILED", f"Command terminated with signal {name}"
    return "TASK_FAILED", f"Command exited with status {code}"


def watch(process: Process, ended: Callable[[], None]) -> None:
    """Call back, in the event loop, when a process has ended; children are reaped."""
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        loop.call_soon(ended)
        return

    def note() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        try:
            os.waitpid(process.pid, os.WNOHANG)
        except ChildProcessError:
            pass  # Started by an earlier agent: somebody else reaps it.
        ended()

    loop.add_reader(descriptor, note)
    if not process.is_alive and start_time(process.pid) not in {None, process.started}:
        # The id was given to another process before it could be watched.
        loop.remove_reader(descriptor)
        os.close(descriptor)
        loop.call_soon(ended)


def terminate(process: Process) -> None:
    """Ask a task to end; the executor asks all of its session, as Mesos' does."""
    if process.is_alive:
        _signal(process.pid, signal.SIGTERM)


def kill(process: Process) -> None:
    """End a task and all it started in its session."""
    if not process.is_alive:
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        _signal(process.pid, signal.SIGKILL)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
