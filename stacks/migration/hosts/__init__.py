"""What runs a colour's masters, where an act restarts them or lets them forget.

Updates declare masters and leave those that run alone; an act that needs one restarted asks its
host. There is one for each host target: processes under supervisord, pods of a StatefulSet.
"""

from __future__ import annotations

from typing import Protocol

from stacks.migration.evidence import Evidence
from stacks.migration.updates import Tell


class MastersHost(Protocol):
    """Of one colour's masters, which are numbered as they are declared.

    Every call first finds out what holds already: a runner that was killed in the middle of one
    makes it again.
    """

    async def examine(self) -> Evidence:
        """Whether all of this can be done now, by what is asked and nothing that is tried."""
        ...

    async def start(self, tell: Tell) -> None:
        """Start every one that stands still."""
        ...

    async def restart(self, index: int, tell: Tell) -> None:
        """Let one end, and another process take its place and its volumes."""
        ...

    async def is_halted(self) -> bool:
        """Whether all of them stand still: a reset was cut short, and some may have forgotten."""
        ...

    async def reset(self, tell: Tell) -> tuple[str, ...]:
        """End all, empty their volumes, and start them; returns what was emptied.

        All of them before the first is emptied: one that still has the old log would hand it on.
        """
        ...
