"""A process of this machine, as a value, and what it takes to make it so.

`ProcessSpec` is what Pulumi's state holds of a local process; `realise`, `withdraw` and `observe`
do the work with a `Supervisor`. Kept apart from the dynamic provider (components.targets.local), so
that it can be used and tested without Pulumi.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from components import whole_file
from components.errors import NotReadyError, PortInUseError, ProcessExitedError
from components.targets import ports, run_folder
from components.targets.readiness import Check, wait
from components.targets.supervisor import Definition, State, Supervisor

# A process that ended this often since it was started will not become ready by itself.
_EXITS_MAX = 3
_UP = frozenset({State.RUNNING, State.STARTING})
RUNNING = "running"
ABSENT = "absent"
CHANGED = "changed"


@dataclass(frozen=True)
class ProcessSpec:
    """All that is known of a local process before it runs. Holds no secret, only paths of some."""

    name: str
    run_dir: str
    argv: tuple[str, ...]
    config_file: str
    config: str
    ports: tuple[int, ...] = ()
    volumes: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    check: Check | None = None
    running: bool = True
    fresh: bool = False
    leaves_children: bool = False
    stop_timeout_s: int = 10

    @classmethod
    def from_properties(cls, properties: Mapping[str, Any]) -> ProcessSpec:
        """Read what `properties` wrote; numbers may have become floats on the way."""
        check: dict[str, Any] | None = properties.get("check")
        environment: dict[str, Any] = properties.get("environment") or {}
        return cls(
            name=str(properties["name"]),
            run_dir=str(properties["run_dir"]),
            argv=tuple(str(word) for word in properties["argv"]),
            config_file=str(properties["config_file"]),
            config=str(properties["config"]),
            ports=tuple(int(port) for port in properties.get("ports") or ()),
            volumes=tuple(str(volume) for volume in properties.get("volumes") or ()),
            environment={key: str(value) for key, value in environment.items()},
            check=None if check is None else Check.from_properties(check),
            running=bool(properties.get("running", True)),
            fresh=bool(properties.get("fresh", False)),
            leaves_children=bool(properties.get("leaves_children", False)),
            stop_timeout_s=int(properties.get("stop_timeout_s", 10)),
        )

    @property
    def properties(self) -> dict[str, Any]:
        """Plain values for Pulumi."""
        return {
            "name": self.name,
            "run_dir": self.run_dir,
            "argv": list(self.argv),
            "config_file": self.config_file,
            "config": self.config,
            "ports": list(self.ports),
            "volumes": list(self.volumes),
            "environment": dict(self.environment),
            "check": None if self.check is None else self.check.properties,
            "running": self.running,
            "fresh": self.fresh,
            "leaves_children": self.leaves_children,
            "stop_timeout_s": self.stop_timeout_s,
        }

    @property
    def supervisor(self) -> Supervisor:
        """The supervisor of its run folder."""
        return Supervisor(Path(self.run_dir))

    @property
    def definition(self) -> Definition:
        """What the supervisor is told. A changed configuration file changes it too, because only
        a changed definition is started anew."""
        digest = hashlib.sha256(self.config.encode()).hexdigest()[:16]
        environment = {**self.environment, "MESOS_PLATFORM_CONFIG_DIGEST": digest}
        return Definition(self.name, self.argv, environment, self.stop_timeout_s)

    def differs_from(self, other: ProcessSpec) -> bool:
        """Whether an update is needed to come from `other` to this. `fresh` matters only when a
        process is created."""
        return replace(self, fresh=False) != replace(other, fresh=False)


def realise(spec: ProcessSpec, *, create: bool) -> None:
    """Make it so, whatever there is now; returns when the process is ready.

    Done already is a success. A process whose creation fails is removed again, its output stays.

    Raises:
        TargetError: a port is taken, or the process does not become ready.
    """
    if not spec.running:
        _withdraw_process(spec)
        return
    supervisor = spec.supervisor
    run_folder.claim(Path(spec.run_dir))
    try:
        if not _runs_as_told(spec):
            # Whatever runs under this name is ours: its ports become free before they are looked
            # at.
            supervisor.clear(spec.name)
            for port in spec.ports:
                if not ports.is_free(port):
                    owner = ports.owner_of(port)
                    raise PortInUseError(name=spec.name, port=port, owner=owner)
            if create and spec.fresh:
                supervisor.wipe(spec.name, spec.volumes)
            _write(spec)
        supervisor.put(spec.definition)
        if spec.check is not None:
            await_check(spec.check, spec, bound=spec.check.timeout_s)
    except Exception:
        # Pulumi will not know a process whose creation failed, so nothing of it may stay; but what
        # another update has declared meanwhile under the name is not ours to take away.
        if create and (supervisor.holds(spec.definition) or not supervisor.knows(spec.name)):
            supervisor.remove(spec.name, with_children=not spec.leaves_children)
        raise


def withdraw(spec: ProcessSpec) -> None:
    """Remove the process with everything it started; its volumes and output stay."""
    spec.supervisor.remove(spec.name, with_children=True)
    _config_path(spec).unlink(missing_ok=True)


def observe(spec: ProcessSpec) -> str | None:
    """What holds now: `running`, `absent`, `changed` or a state of the supervisor; None when the
    process was removed by hand."""
    supervisor = spec.supervisor
    if spec.name not in supervisor.programs():
        return None if spec.running else ABSENT
    if not spec.running or not supervisor.holds(spec.definition) or not _is_written(spec):
        return CHANGED
    state = supervisor.status(spec.name).state
    return RUNNING if state in _UP else str(state)


def expected(spec: ProcessSpec) -> str:
    """What `observe` says when all is well."""
    return RUNNING if spec.running else ABSENT


def await_check(check: Check, spec: ProcessSpec, *, bound: float) -> None:
    """Wait until a check of a process holds.

    Raises:
        NotReadyError: it did not within its bound.
        ProcessExitedError: the process ended too often meanwhile.
    """
    supervisor = spec.supervisor
    if wait(check, give_up=_exit_counter(supervisor, spec.name)):
        return
    msg = (
        f"{spec.name}: expected {check} within {bound:.0f} s, it did not. "
        f"Its state is {supervisor.status(spec.name).state}; {_last_words(supervisor, spec.name)}"
    )
    raise NotReadyError(msg)


def _exit_counter(supervisor: Supervisor, name: str) -> Callable[[], None]:
    exits: set[int] = set()

    def give_up() -> None:
        status = supervisor.status(name)
        if status.state in {State.BACKOFF, State.EXITED, State.FATAL}:
            exits.add(status.stopped_at)
        if len(exits) < _EXITS_MAX and status.state is not State.FATAL:
            return
        msg = (
            f"{name}: expected a process that keeps running, it ended {len(exits)} times; "
            f"{_last_words(supervisor, name)}"
        )
        raise ProcessExitedError(msg)

    return give_up


def _last_words(supervisor: Supervisor, name: str) -> str:
    indented = supervisor.log_tail(name).replace("\n", "\n    ")
    return f"the end of {supervisor.log_file(name)} is\n    {indented}"


def _runs_as_told(spec: ProcessSpec) -> bool:
    supervisor = spec.supervisor
    return (
        supervisor.status(spec.name).state in _UP
        and supervisor.holds(spec.definition)
        and _is_written(spec)
    )


def _withdraw_process(spec: ProcessSpec) -> None:
    run_folder.claim(Path(spec.run_dir))
    spec.supervisor.remove(spec.name, with_children=not spec.leaves_children)


def _config_path(spec: ProcessSpec) -> Path:
    return spec.supervisor.directory(spec.name) / spec.config_file


def _is_written(spec: ProcessSpec) -> bool:
    try:
        return _config_path(spec).read_text() == spec.config
    except OSError:
        return False


def _write(spec: ProcessSpec) -> None:
    directory = _make_folder(spec.supervisor.directory(spec.name))
    for volume in spec.volumes:
        _make_folder(directory / volume)
    whole_file.write(_config_path(spec), spec.config)


def _make_folder(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(path, 0o700)  # noqa: PTH101 - an older umask may have been wider
    return path
