"""One master's replica of the registry's log: what it has promised and accepted, on disk.

The registry is one versioned document. A replica holds the newest it has accepted, with the
proposal it came by and its position, and the highest proposal it has promised itself to. It answers
only what is on disk (file and folder synced), so a promise outlives the process. A replica whose
folder is empty takes part in nothing until it has caught up (stacks.local.mesos.registrar): it may
have forgotten a promise. Statuses and rules are those of Mesos' src/log/replica.cpp, for one
register instead of a log of entries.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from stacks.local.errors import StartError

Document = dict[str, Any]
_FILE = "register.json"


class Status(StrEnum):
    """How far a replica may take part."""

    EMPTY = "EMPTY"
    STARTING = "STARTING"
    VOTING = "VOTING"


@dataclass(frozen=True)
class Register:
    """What is on disk. `accepted` is the proposal that `document` came by."""

    status: Status = Status.EMPTY
    promised: int = 0
    accepted: int = 0
    position: int = 0
    document: Document = field(default_factory=dict[str, Any])

    @property
    def age(self) -> tuple[int, int]:
        """Newer documents compare greater."""
        return (self.accepted, self.position)

    def as_json(self) -> dict[str, Any]:
        """Its fields; the document is the register's own, and is not to be changed."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


class Replica:
    """The register of one master."""

    def __init__(self, work_dir: Path) -> None:
        self._folder = work_dir / "replicated_log"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._register = self._read()

    @property
    def register(self) -> Register:
        """What it holds now."""
        return self._register

    def _read(self) -> Register:
        path = self._folder / _FILE
        try:
            content = json.loads(path.read_text())
            return Register(
                status=Status(content["status"]),
                promised=int(content["promised"]),
                accepted=int(content["accepted"]),
                position=int(content["position"]),
                document=content["document"],
            )
        except FileNotFoundError:
            return Register()
        except (OSError, ValueError, KeyError, TypeError) as error:
            msg = (
                f"expected a register in {path}, saw {error!r}: move the folder away, so that this "
                "master catches up from the others"
            )
            raise StartError(msg) from None

    def _store(self, register: Register) -> None:
        temporary = self._folder / f"{_FILE}.new"
        with temporary.open("w") as file:
            # In one piece: written part by part, JSON takes ten times as long.
            file.write(json.dumps(register.as_json(), separators=(",", ":")))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._folder / _FILE)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._register = register

    def promise(self, proposal: int) -> bool:
        """Promise to accept nothing older; false when it is promised to a newer one, or may not."""
        register = self._register
        if register.status is not Status.VOTING or proposal <= register.promised:
            return False
        self._store(replace(register, promised=proposal))
        return True

    def write(self, proposal: int, position: int, document: Document) -> bool:
        """Accept a document; false when it is promised to a newer proposal, or may not."""
        register = self._register
        if register.status is not Status.VOTING or proposal < register.promised:
            return False
        self._store(
            Register(
                Status.VOTING,
                promised=proposal,
                accepted=proposal,
                position=position,
                document=document,
            )
        )
        return True

    def start(self) -> None:
        """Note that the whole group was empty."""
        assert self._register.status is Status.EMPTY
        self._store(replace(self._register, status=Status.STARTING))

    def join(self, register: Register) -> None:
        """Begin to vote, with what a quorum of voters had."""
        assert self._register.status is not Status.VOTING
        self._store(replace(register, status=Status.VOTING))

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Answer another master."""
        match message["type"]:
            case "PROMISE":
                ok = self.promise(int(message["proposal"]))
            case "WRITE":
                ok = self.write(
                    int(message["proposal"]), int(message["position"]), message["document"]
                )
            case _:
                ok = True
        register = self._register.as_json()
        if message["type"] not in {"PROMISE", "FETCH"}:
            del register["document"]
        return {"ok": ok, **register}
