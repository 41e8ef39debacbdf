"""Apps and tasks as Marathon tells them, and a Marathon that tells those that a test puts there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from clients.marathon import UnreachableError
from clients.marathon.model import App, Task


def app(app_id: str = "/web", *, checked: bool = False, **definition: Any) -> App:
    given = {"id": app_id, "portDefinitions": [{"port": 10_001}], **definition}
    if checked:
        given["healthChecks"] = [{"protocol": "HTTP", "path": "/ping"}]
    return App(app_id, given, 1, "v", 0, 1, 0, 0, ())


def task(
    app_id: str = "/web",
    number: int = 1,
    *,
    host: str = "10.0.0.1",
    ports: tuple[int, ...] | None = None,
    state: str = "TASK_RUNNING",
    healthy: bool | None = None,
) -> Task:
    task_id = f"{app_id.strip('/').replace('/', '_')}.{number}"
    own = (31_000 + number,) if ports is None else ports
    return Task(task_id, app_id, "a", host, own, state, "v", None, None, healthy)


class Marathon:
    """A source of `apps` and `tasks`; it does not answer while it `is_away`."""

    def __init__(self) -> None:
        self.running: list[App] = []
        self.instances: list[Task] = []
        self.is_away = False
        self._changes: asyncio.Queue[str] = asyncio.Queue()

    def change(self, apps: Sequence[App], tasks: Sequence[Task]) -> None:
        """Have these from now on, and tell that something has changed."""
        self.running, self.instances = list(apps), list(tasks)
        self._changes.put_nowait("status_update_event")

    async def apps(self) -> tuple[App, ...]:
        self._answer()
        return tuple(self.running)

    async def tasks(self) -> tuple[Task, ...]:
        self._answer()
        return tuple(self.instances)

    async def events(self, kinds: tuple[str, ...] = ()) -> AsyncGenerator[object]:
        assert "status_update_event" in kinds
        self._answer()
        yield "attached"
        while True:
            yield await self._changes.get()

    def _answer(self) -> None:
        if self.is_away:
            message = "no instance answered"
            raise UnreachableError(message)
