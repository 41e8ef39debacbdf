"""What an agent writes down so that the next one in its work folder can go on.

`meta/agent.json` is the identity: SlaveInfo and the id that a master gave. `meta/tasks/` holds one
record a task, written before the task is started and after each change, each as a whole file that
replaces the former. A record stays until the framework has acknowledged the task's last status.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stacks.local.errors import StartError
from stacks.local.mesos.executor import Process
from stacks.local.mesos.values import TERMINAL_STATES, Json


@dataclass
class TaskRecord:
    """One task. `pending` are statuses that nobody has acknowledged yet, oldest first.
    `kill_began_s` is of the machine's monotonic clock, which goes on over an agent's restart."""

    framework_id: str
    framework_info: Json
    info: Json
    role: str
    container_id: str
    sandbox: str
    pid: int | None = None
    started: int | None = None
    state: str = "TASK_STAGING"
    statuses: list[Json] = field(default_factory=list[Json])
    pending: list[Json] = field(default_factory=list[Json])
    kill_reason: str | None = None
    kill_began_s: float | None = None
    kill_grace_s: float = 0.0
    launched_at: float = 0.0

    @property
    def task_id(self) -> str:
        """Unique within the framework."""
        return str(self.info["task_id"]["value"])

    @property
    def key(self) -> tuple[str, str]:
        """Framework and task."""
        return (self.framework_id, self.task_id)

    @property
    def process(self) -> Process | None:
        """Its executor, once it was started."""
        if self.pid is None or self.started is None:
            return None
        return Process(self.pid, self.started)

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended."""
        return self.state in TERMINAL_STATES


class Checkpoint:
    """The records of one work folder."""

    def __init__(self, work_dir: Path) -> None:
        self._agent = work_dir / "meta" / "agent.json"
        self._tasks = work_dir / "meta" / "tasks"

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            StartError: they cannot be made.
        """
        try:
            self._tasks.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"expected a folder at {self._tasks}, saw {error.strerror}: check place and owner"
            raise StartError(msg) from None

    def read_agent(self) -> Json | None:
        """Identity (`info`, `agent_id`); None in a fresh folder."""
        return _read(self._agent)

    def write_agent(self, identity: Json) -> None:
        """Keep the identity."""
        _write(self._agent, identity)

    def _path(self, record: TaskRecord) -> Path:
        # Task ids are any text; a digest is always a file name.
        digest = hashlib.sha256("\0".join(record.key).encode()).hexdigest()[:32]
        return self._tasks / f"{digest}.json"

    def write(self, record: TaskRecord) -> None:
        """Keep a task."""
        _write(self._path(record), asdict(record))

    def remove(self, record: TaskRecord) -> None:
        """Forget a task."""
        self._path(record).unlink(missing_ok=True)

    def records(self) -> list[TaskRecord]:
        """All tasks that are written down, oldest first."""
        if not self._tasks.is_dir():
            return []
        found = [_read(path) for path in sorted(self._tasks.glob("*.json"))]
        records = [TaskRecord(**content) for content in found if content is not None]
        return sorted(records, key=lambda record: record.launched_at)


def _read(path: Path) -> Json | None:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        msg = f"expected a checkpoint in {path}, saw {error!r}: move the work folder away"
        raise StartError(msg) from None


def _write(path: Path, content: Any) -> None:
    temporary = path.with_suffix(".new")
    with temporary.open("w") as file:
        json.dump(content, file, separators=(",", ":"))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
