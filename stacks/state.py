"""What a file backend keeps of a stack: its state and its locks, read without starting the engine.

Asking the engine costs half a second each time, and a migration asks often; these files are its
documented layout (`.pulumi/stacks/<project>/<stack>.json`, `.pulumi/locks/…`). State is only read
here. Of locks, only those are removed whose process has ended on this machine: a killed update
leaves its lock for ever, and nobody else would know that it is dead.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from stacks.errors import ConcurrentUpdateError, StackMissingError, StateUnreadableError

PROJECT = "mesos-platform"
_ENGINE = "pulumi"
_PAUSE_S = 0.2
_PACKED = ("gz", "zst")
# Times of the last write, and from where in the program a resource was declared, differ between
# equal states.
_VOLATILE = frozenset({"created", "modified", "sourcePosition", "stackTrace"})


@dataclass(frozen=True)
class Lock:
    """A lock of a stack: who holds it."""

    path: Path
    pid: int
    host: str
    user: str

    @property
    def is_dead(self) -> bool:
        """Whether its process has ended; a process on another machine never counts as ended.

        Numbers of processes come back, after a reboot or in a container soon: one that is no
        engine is not the lock's.
        """
        if self.host != socket.gethostname():
            return False
        try:
            return not Path(f"/proc/{self.pid}/comm").read_text().startswith(_ENGINE)
        except OSError:
            return True


class FileState:
    """Files of one stack in a file backend."""

    @classmethod
    def of(cls, backend_url: str, stack: str) -> FileState | None:
        """The files behind a backend's address; None where it keeps none that we can read."""
        text, _, _ = backend_url.partition("?")
        folder = Path(unquote(text.removeprefix("file://"))).expanduser()
        if not text.startswith("file://") or not folder.is_absolute():
            return None
        state = cls(folder, stack)
        is_packed = any(state._file.with_suffix(f".json.{kind}").exists() for kind in _PACKED)
        return None if is_packed else state

    def __init__(self, backend: Path, stack: str) -> None:
        folder = backend / ".pulumi"
        self._stack = stack
        self._file = folder / "stacks" / PROJECT / f"{stack}.json"
        self._locks = folder / "locks" / "organization" / PROJECT / stack

    @property
    def exists(self) -> bool:
        """Whether the stack was initialised."""
        return self._file.exists()

    def read(self) -> Mapping[str, Any]:
        """The latest deployment; empty before the first update.

        Raises:
            StackMissingError: there is no such stack.
            StateUnreadableError: the file was cut off, or changed by hand.
        """
        try:
            text = self._file.read_text(errors="replace")
        except FileNotFoundError:
            raise missing(self._stack) from None
        try:
            latest: Mapping[str, Any] | None = json.loads(text)["checkpoint"].get("latest")
        except (ValueError, TypeError, KeyError, AttributeError):
            raise self._unreadable(len(text)) from None
        return latest or {}

    def _unreadable(self, length: int) -> StateUnreadableError:
        backup = self._file.with_name(f"{self._file.name}.bak")
        cure = "Take a checkpoint of .pulumi/backups in its place"
        if backup.exists():
            cure = f"Put {backup.name} beside it in its place"
        if self._stack == "local":
            cure = f"{cure}, or let `make down` remove the stack with all that runs"
        return StateUnreadableError(
            f"expected the state of stack {self._stack!r} in {self._file}, saw {length} characters "
            f"that are none: it was cut off, or changed by hand. {cure}"
        )

    def locks(self) -> Iterator[Lock]:
        """Locks held now."""
        for path in sorted(self._locks.glob("*.json")):
            try:
                content: dict[str, Any] = json.loads(path.read_text())
            except (OSError, ValueError):  # Released, or being written.
                continue
            yield Lock(
                path,
                int(content.get("pid", 0)),
                str(content.get("hostname", "")),
                str(content.get("username", "")),
            )

    def clear_dead_locks(self, *, wait_s: float) -> int:
        """Remove locks of ended processes, after live ones were given time to end.

        Raises:
            ConcurrentUpdateError: a live process still holds the stack.
        """
        deadline = time.monotonic() + wait_s
        cleared = 0
        while True:
            live = [lock for lock in self.locks() if not lock.is_dead]
            if not live:
                break
            if time.monotonic() > deadline:
                raise locked(self._stack, live[0])
            time.sleep(_PAUSE_S)
        for lock in self.locks():
            if lock.is_dead:
                lock.path.unlink(missing_ok=True)
                cleared += 1
        return cleared


def missing(stack: str) -> StackMissingError:
    """The error for a stack that was never initialised."""
    return StackMissingError(
        f"expected a stack named {stack!r}, there is none in {_backend_in_use()}. "
        "A shell gets the backend of this checkout's stacks, local and dev, by `. .local/env`; in "
        f"another, make the stack with `pulumi stack init {stack}`"
    )


def _backend_in_use() -> str:
    """What the engine was told, without what a person may have put behind the address."""
    given = os.environ.get("PULUMI_BACKEND_URL")
    if not given:
        return "this backend"
    address = urlsplit(given)
    host = address.netloc.rpartition("@")[2]
    return f"the backend {address.scheme}://{host}{address.path} of PULUMI_BACKEND_URL"


def locked(stack: str, lock: Lock | None) -> ConcurrentUpdateError:
    """The error for a stack that another update holds."""
    holder = "another update"
    if lock is not None:
        holder = f"process {lock.pid} of {lock.user} on {lock.host}"
    return ConcurrentUpdateError(
        f"expected stack {stack!r} to be free, saw it locked by {holder}. "
        "Wait for it to end; if it was killed, `migrate resume` clears what it left, and where its "
        f"machine is gone, `pulumi cancel --stack {stack}`"
    )


def digest(deployment: Mapping[str, Any]) -> str:
    """Equal for equal states, whenever they were written."""
    resources: list[Mapping[str, Any]] = deployment.get("resources") or []
    # Resources, and what they depend on, stand in the order in which they were registered.
    lasting = sorted(
        (
            {
                key: sorted(value) if key == "dependencies" else value
                for key, value in resource.items()
                if key not in _VOLATILE
            }
            for resource in resources
            # The provider of dynamic resources carries the configuration, also of a refused update.
            if not resource["type"].startswith("pulumi:providers:")
        ),
        key=lambda resource: (resource["urn"], resource.get("id", "")),
    )
    pending: list[Any] = deployment.get("pending_operations") or []
    text = json.dumps([lasting, pending], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def outputs_of(deployment: Mapping[str, Any], type_: str, name: str) -> Mapping[str, Any] | None:
    """Outputs of one resource in a deployment; None when it is not there."""
    resources: list[Mapping[str, Any]] = deployment.get("resources") or []
    for resource in resources:
        if resource["type"] == type_ and resource["urn"].endswith(f"::{name}"):
            found: Mapping[str, Any] = resource.get("outputs") or {}
            return found
    return None
