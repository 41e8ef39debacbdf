"""One supervisord for the processes of a run folder, driven over its XML-RPC socket.

Processes must outlive the update that declares them, come back when they die, and be found again by
the next update: that is a supervisor's work, so none is written here. This module writes one
configuration file a program, asks supervisord to take it, and starts and stops supervisord itself
with the first and the last program. Changes are made under a lock of the run folder, because Pulumi
creates resources at the same time.

Layout below the run folder: `supervisor/` (configuration, log, lock) and one folder a program,
which holds its rendered file, volumes, `output.log` and `pid`. No Pulumi in here.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
import shutil
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from components import whole_file
from components.errors import SupervisorError
from components.targets import orphans, run_folder, supervisor_files, supervisor_socket
from components.targets.supervisor_files import Definition

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 60.0
_PAUSE_S = 0.05
_TAIL_LINES = 15
# What processes inherit. Everything else stays out: an update runs with the stack's passphrase.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "JAVA_HOME")
_INHERITED_PREFIXES = ("XDG_", "MESOS_PLATFORM_")
_NOT_INHERITED = frozenset({orphans.MARK})
_BAD_NAME = 10
_NOT_RUNNING = 70
# Launchers are executed, by nobody else.
_MODE = 0o700


class State(StrEnum):
    """What supervisord says of a program; `MISSING` when it does not know it."""

    MISSING = "missing"
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    EXITED = "exited"
    FATAL = "fatal"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Status:
    """State of a program, its process (0: none) and when it last stopped (epoch seconds)."""

    state: State
    pid: int = 0
    stopped_at: int = 0


MISSING = Status(State.MISSING)


class Supervisor:
    """The supervisord of one run folder. Cheap to make: nothing is started before it is needed."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._root = run_dir / "supervisor"
        self._conf_d = self._root / "conf.d"
        self._id = hashlib.sha256(str(run_dir).encode()).hexdigest()[:16]

    def directory(self, name: str) -> Path:
        """Folder of a program."""
        return self.run_dir / name

    def log_file(self, name: str) -> Path:
        """What a program says on its standard output and error."""
        return self.directory(name) / "output.log"

    def mark(self, name: str) -> str:
        """What the environment of a program's processes carries (see orphans)."""
        return f"{self._id}/{name}"

    def is_running(self) -> bool:
        """Whether supervisord answers."""
        try:
            return bool(self._rpc().getState()["statename"])
        except (OSError, xmlrpc.client.Error):
            return False

    def programs(self) -> list[str]:
        """Names of the programs that are declared in the run folder."""
        return sorted(path.stem for path in self._conf_d.glob("*.conf"))

    def knows(self, name: str) -> bool:
        """Whether a program of that name is declared."""
        return self._file(name).exists()

    def status(self, name: str) -> Status:
        """What supervisord says of a program; `MISSING` also when supervisord does not run."""
        try:
            info = self._rpc().getProcessInfo(name)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == _BAD_NAME:
                return MISSING
            raise self._failed(f"tell the state of {name}", fault) from fault
        except OSError:
            return MISSING
        return Status(State(str(info["statename"]).lower()), int(info["pid"]), int(info["stop"]))

    def holds(self, definition: Definition) -> bool:
        """Whether exactly this definition is declared."""
        try:
            return all(path.read_text() == text for path, text in self._render(definition))
        except OSError:
            return False

    def put(self, definition: Definition) -> None:
        """Declare a program, replace its older definition, and start it.

        A program that runs under an equal definition keeps running.
        """
        with self._lock():
            self._ensure_running()
            known = self.status(definition.name).state is not State.MISSING
            if known and not self.holds(definition):
                self._forget(definition.name)
                known = False
            if not known:
                self.directory(definition.name).mkdir(parents=True, exist_ok=True)
                for path, text in self._render(definition):
                    whole_file.write(path, text, mode=_MODE)
                self._take(definition.name)
        if self.status(definition.name).state not in {State.RUNNING, State.STARTING}:
            self._start(definition.name)

    def clear(self, name: str) -> None:
        """Run supervisord, and no process of this program, not even one that lost its supervisor:
        afterwards the ports and volumes of the program are free, or somebody else's."""
        with self._lock():
            self._ensure_running()
            if self.status(name).state is not State.MISSING:
                self._forget(name)
            self._file(name).unlink(missing_ok=True)

    def stop(self, name: str) -> None:
        """Stop a program and wait for its end; it stays declared. Stopped already is a success."""
        try:
            self._rpc().stopProcess(name, True)  # noqa: FBT003 - XML-RPC has no keywords
        except xmlrpc.client.Fault as fault:
            if fault.faultCode not in {_BAD_NAME, _NOT_RUNNING}:
                raise self._failed(f"stop {name}", fault) from fault
        except OSError as error:
            if self.is_running():
                raise self._failed(f"stop {name}", error) from error

    def start(self, name: str) -> None:
        """Start a declared program again; running already is a success."""
        with self._lock():
            self._ensure_running()
        if self.status(name).state not in {State.RUNNING, State.STARTING}:
            self._start(name)

    def remove(self, name: str, *, with_children: bool = False) -> None:
        """Stop a program and forget it; the last one takes supervisord with it.

        `with_children` also ends what the program left running (tasks of an agent).
        """
        self.stop(name)
        with self._lock():
            if self.is_running():
                self._forget(name)
            self._file(name).unlink(missing_ok=True)
            if not self.programs() and self.is_running():
                self._shut_down()
        left = orphans.marked(self.mark(name)) if with_children else self._orphan(name)
        orphans.end(left, grace_s=5.0)
        (self.directory(name) / "pid").unlink(missing_ok=True)

    def remove_all(self) -> None:
        """Remove every program of the run folder and all that they left running, whatever state an
        interrupted update or a killed supervisord has left."""
        for name in self.programs():
            self.remove(name, with_children=True)
        self.shut_down()
        orphans.end(orphans.marked(f"{self._id}/"), grace_s=5.0)

    def wipe(self, name: str, volumes: Sequence[str]) -> None:
        """Empty the volumes of a program that does not run."""
        if self.status(name).pid:
            msg = f"expected {name} to be stopped before its volumes are emptied, saw it running"
            raise SupervisorError(msg)
        for volume in volumes:
            place = self.directory(name) / volume
            try:
                shutil.rmtree(place)
            except FileNotFoundError:
                continue
            except OSError as error:
                msg = (
                    f"expected to empty {place} for a fresh {name}, saw: {error.strerror} "
                    f"({error.filename}). Remove it by hand"
                )
                raise SupervisorError(msg) from None

    def log_tail(self, name: str) -> str:
        """Last lines of a program's output, for error messages."""
        try:
            text = self.log_file(name).read_bytes()[-16_384:].decode(errors="replace")
        except OSError:
            return "(it wrote nothing)"
        # A process that ends again and again says the same each time: once is enough.
        told = [line for line, _ in itertools.groupby(text.splitlines())]
        return "\n".join(told[-_TAIL_LINES:]) or "(it wrote nothing)"

    def shut_down(self) -> None:
        """Stop every program and supervisord itself; the definitions stay."""
        if not self._root.is_dir() and not self.is_running():
            return
        with self._lock():
            if self.is_running():
                self._shut_down()

    # Everything below runs under the lock, or only reads.

    def _file(self, name: str) -> Path:
        return self._conf_d / f"{name}.conf"

    def _start(self, name: str) -> None:
        try:
            self._rpc().startProcess(name, False)  # noqa: FBT003 - do not wait; readiness does
        except xmlrpc.client.Fault as fault:
            if self.status(name).state not in {State.RUNNING, State.STARTING, State.BACKOFF}:
                raise self._failed(f"start {name}", fault) from fault

    def _take(self, name: str) -> None:
        try:
            self._rpc().reloadConfig()
            self._rpc().addProcessGroup(name)
        except xmlrpc.client.Fault as fault:
            # One file that supervisord refuses would spoil every later reading.
            self._file(name).unlink(missing_ok=True)
            raise self._failed(f"take the program {name}", fault) from fault

    def _forget(self, name: str) -> None:
        self.stop(name)
        try:
            self._rpc().removeProcessGroup(name)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != _BAD_NAME:
                raise self._failed(f"forget the program {name}", fault) from fault

    def _ensure_running(self) -> None:
        configuration = self._root / "supervisord.conf"
        if self.is_running():
            if configuration.exists():
                return
            # Somebody removed the run folder by hand, and all that still runs has lost its ground.
            self._shut_down()
            orphans.end(orphans.marked(f"{self._id}/"), grace_s=10.0)
        supervisor_files.check_readable(self._root)
        # A supervisord that was killed leaves its processes: they hold ports and data folders, and
        # nobody would restart them. They are started again below, by their definitions.
        orphans.end({pid for name in self.programs() for pid in self._orphan(name)}, grace_s=10.0)
        address = supervisor_socket.choose(self._id, self._root)
        text = supervisor_files.render_main(self._root, address, self._id)
        whole_file.write(configuration, text)
        environment = {
            key: value
            for key, value in os.environ.items()
            if (key in _INHERITED or key.startswith(_INHERITED_PREFIXES))
            and key not in _NOT_INHERITED
        }
        environment[orphans.MARK] = self.mark("supervisord")
        command = [python(), "-m", "supervisor.supervisord", "-c", str(configuration)]
        with (self._root / "start.log").open("wb") as log:
            code = subprocess.run(
                command,
                cwd=self.run_dir,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                check=False,
                timeout=_START_TIMEOUT_S,
            ).returncode
        if code or not _until(self.is_running, _START_TIMEOUT_S):
            said = (self._root / "start.log").read_text(errors="replace").strip()[-2000:]
            msg = (
                f"expected supervisord to run for {self.run_dir}, saw exit status {code}: {said}. "
                f"Its log is {self._root / 'supervisord.log'}"
            )
            raise SupervisorError(msg)

    def _shut_down(self) -> None:
        try:
            pid = int(self._rpc().getPID())
            self._rpc().shutdown()
        except (OSError, xmlrpc.client.Error) as error:
            raise self._failed("shut down", error) from error
        if not _until(lambda: not orphans.is_alive(pid), _STOP_TIMEOUT_S):
            msg = f"expected supervisord {pid} to end within {_STOP_TIMEOUT_S:.0f} s, it runs on"
            raise SupervisorError(msg)

    def _orphan(self, name: str) -> set[int]:
        """The main process of a program, when it lives without its supervisor."""
        try:
            pid = int((self.directory(name) / "pid").read_text())
        except (OSError, ValueError):
            return set()
        return {pid} & orphans.marked(self.mark(name))

    def _rpc(self) -> Any:
        return supervisor_files.proxy(supervisor_socket.find(self._id, self._root))

    def _render(self, definition: Definition) -> list[tuple[Path, str]]:
        name = definition.name
        directory = self.directory(name)
        launcher = supervisor_files.render_launcher(definition, directory=directory)
        program = supervisor_files.render_program(
            definition, directory=directory, log=self.log_file(name), mark=self.mark(name)
        )
        # The launcher first: a program that supervisord knows must have one.
        return [(supervisor_files.launcher_of(directory), launcher), (self._file(name), program)]

    def _failed(self, what: str, error: Exception) -> SupervisorError:
        reason = error.faultString if isinstance(error, xmlrpc.client.Fault) else str(error)
        return SupervisorError(
            f"supervisord of {self.run_dir} could not {what}: {reason}. "
            f"See {self._root / 'supervisord.log'}"
        )

    @contextmanager
    def _lock(self) -> Generator[None]:
        run_folder.claim(self.run_dir)
        self._root.mkdir(mode=0o700, exist_ok=True)
        self._conf_d.mkdir(exist_ok=True)
        with (self._root / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def python() -> str:
    """The interpreter of this environment, named alike from every entry point, so that commands
    stay equal between updates."""
    return str(Path(sys.prefix).resolve() / "bin" / "python")


def _until(condition: Callable[[], bool], bound_s: float) -> bool:
    deadline = time.monotonic() + bound_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE_S)
    return True
