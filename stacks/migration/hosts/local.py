"""Masters that are processes of this machine, under the supervisord of a run folder."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from components.targets.supervisor import State, Supervisor
from stacks.migration.evidence import Evidence
from stacks.migration.updates import Tell

_WORK = "work"
_RUNS = frozenset({State.RUNNING, State.STARTING, State.BACKOFF})


class LocalMasters:
    """Programs of one supervisord, by their names."""

    def __init__(self, supervisor: Supervisor, names: Sequence[str]) -> None:
        self._supervisor = supervisor
        self._names = tuple(names)

    async def examine(self) -> Evidence:
        """Whether they are declared here."""
        unknown = [name for name in self._names if not self._supervisor.knows(name)]
        said = f"{len(self._names)} processes of {self._supervisor.run_dir} can be restarted"
        if unknown:
            said = f"supervisord of {self._supervisor.run_dir} knows no {', '.join(unknown)}"
        numbers = {"masters": len(self._names)}
        return Evidence(
            "restarts", ok=not unknown, said=said, numbers=numbers, told_by="supervisord"
        )

    async def start(self, tell: Tell) -> None:
        """Start every one that does not run."""
        del tell
        for name in self._names:
            await asyncio.to_thread(self._supervisor.start, name)

    async def restart(self, index: int, tell: Tell) -> None:
        """Stop one and start it."""
        del tell
        name = self._names[index]
        await asyncio.to_thread(self._supervisor.stop, name)
        await asyncio.to_thread(self._supervisor.start, name)

    async def is_halted(self) -> bool:
        """Whether none of them runs."""
        found = [await asyncio.to_thread(self._supervisor.status, name) for name in self._names]
        return not any(status.state in _RUNS for status in found)

    async def reset(self, tell: Tell) -> tuple[str, ...]:
        """Stop all, empty their folders, start them."""
        tell(f"stopping {', '.join(self._names)}")
        for name in self._names:
            await asyncio.to_thread(self._supervisor.stop, name)
        for name in self._names:
            await asyncio.to_thread(self._supervisor.wipe, name, [_WORK])
        await self.start(tell)
        return self._names
