"""A client that watches: notes when each write's bytes are seen on the other side.

Only some folders are watched where there are many writes, because reading each of them would take
the processor from what is measured. Run as a child (`child.py`).
"""

from __future__ import annotations

import asyncio
import gc
from dataclasses import asdict, dataclass
from typing import Any

from tests.performance import leaves
from tests.performance.child import READY, Orders, say, tell
from tests.performance.watcher import Watcher

SIGHTS_PER_S_MAX = 500
"""What an observer should have to read a second."""


@dataclass(frozen=True)
class ObserveJob:
    """What to watch."""

    hosts: str
    root: str
    count: int
    folders: list[int]

    @staticmethod
    def for_rate(hosts: str, root: str, count: int, rate_per_s: float) -> ObserveJob:
        """Watch as many folders as an observer can keep up with."""
        chosen = leaves.sample(count, SIGHTS_PER_S_MAX / rate_per_s)
        return ObserveJob(hosts, root, count, chosen)

    @property
    def watched(self) -> frozenset[int]:
        """The leaves in those folders."""
        return frozenset(leaves.in_folders(self.folders, self.count))


@dataclass(frozen=True)
class ObserveResult:
    """What was seen, with times of the monotonic clock."""

    seen: list[tuple[int, float]]
    deleted: list[str]

    @staticmethod
    def parse(document: Any) -> ObserveResult:
        """From what the child told."""
        seen = [(int(number), float(at)) for number, at in document["seen"]]
        return ObserveResult(seen, document["deleted"])


class Notes:
    """What an observer writes down."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []
        self.deleted: list[str] = []

    def on_sight(self, path: str, data: bytes | None, at: float) -> None:
        """Take a sight."""
        if data is None:
            self.deleted.append(path)
            return
        number = leaves.decode(data)
        if number is not None and number != leaves.SEEDED:
            self.seen.append((number, at))


async def work() -> None:
    """The child's life."""
    orders = await Orders.listen()
    job = ObserveJob(**await orders.job())
    notes = Notes()
    watcher = Watcher(
        job.hosts,
        [leaves.folder_path(job.root, folder) for folder in job.folders],
        notes.on_sight,
        rescanned=[leaves.leaf_path(job.root, leaf) for leaf in sorted(job.watched)],
    )
    await watcher.start()
    try:
        say(READY)
        if await orders.next():
            await watcher.settle()
            tell(asdict(ObserveResult(notes.seen, notes.deleted)))
    finally:
        await watcher.stop()


def main() -> None:
    """Start the child."""
    # What it makes are numbers that live to its end: looking for garbage only makes pauses.
    gc.disable()
    asyncio.run(work())


if __name__ == "__main__":
    main()
