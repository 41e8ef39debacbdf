"""Sites for tests of collectors: a ledger, clocks that tests move, and what is urgent."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from probe.agent.files import OpenFiles
from probe.agent.site import Site
from probe.report.ledger import Ledger


@dataclass
class Clock:
    """A clock that tests move."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class News:
    """Counts what was urgent."""

    count: int = field(default=0)

    def __call__(self) -> None:
        self.count += 1


def site(**more: Any) -> Site:
    """A site of this machine, called `node`."""
    more.setdefault("clock", Clock())
    return Site("node", Ledger("node", 1), OpenFiles(), **more)


@contextlib.contextmanager
def sleeper(*arguments: str) -> Generator[subprocess.Popen[bytes]]:
    """A process that sleeps; `arguments` stand behind its command."""
    script = "import time; time.sleep(600)"
    process = subprocess.Popen(["python3", "-c", script, *arguments], stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
