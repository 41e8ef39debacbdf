"""What all collectors share: where they look, what they write to, and what they know together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from probe.agent.files import OpenFiles
from probe.report.ledger import Ledger


def _nothing() -> None:
    """Nobody waits for news."""


@dataclass
class KnownContainer:
    """What others need to know of a running container. `namespace` is 0 for the host's network,
    and None where it cannot be seen."""

    id: str
    pid: int
    namespace: int | None
    addresses: tuple[str, ...] = ()


@dataclass
class KnownProcess:
    """What others need to know of a process. `id` is that of its node."""

    id: str
    ppid: int


@dataclass
class Site:
    """One node, seen by one agent. `proc` and `cgroups` are other places inside of a container.

    `urgent` asks for a report now, because somebody waits for what has just been written.
    """

    host: str
    ledger: Ledger
    files: OpenFiles
    proc: str = "/proc"
    cgroups: str = "/sys/fs/cgroup"
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    urgent: Callable[[], None] = _nothing
    redact: bool = True
    containers: dict[str, KnownContainer] = field(default_factory=dict[str, KnownContainer])
    containers_version: int = 0
    """Counts changes of `containers`."""
    memory_share: float = 1.0
    """How much of their bounds stores may use now."""
    processes: dict[int, KnownProcess] = field(default_factory=dict[int, KnownProcess])

    def process_id(self, pid: int | None) -> str | None:
        """The node of a process that runs now."""
        known = None if pid is None else self.processes.get(pid)
        return None if known is None else known.id

    def container_of(self, pid: int | None) -> str | None:
        """The container that a process runs in."""
        return self.container_of_process(self.process_id(pid))

    def container_of_process(self, id_: str | None) -> str | None:
        """The same by the process's node; None for one that has ended."""
        found = None if id_ is None else self.ledger["process"].get(id_, "container")
        return found if isinstance(found, str) else None
