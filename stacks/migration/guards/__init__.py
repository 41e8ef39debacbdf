"""What must hold before a transition begins, before it removes something, and after it.

Each guard looks once and returns evidence. Which guards an edge has is said in `tables.py`, who
gives them time to hold in stacks.migration.work.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from stacks.migration.evidence import Evidence
from stacks.migration.executor import Situation
from stacks.migration.world import World

Guard = Callable[[World, Situation], Awaitable[Evidence]]
