"""Processes of the benchmark's own, so that load and observers take no turns with each other.

A child is a module of this package. It reads its job as one line of JSON, says `ready`, and then
follows orders, one word a line: `go`, and `stop`, after which it prints its results as one line of
JSON and ends. It also ends when its parent does, because then its input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator
from typing import Any

READY = "ready"
GO = "go"
STOP = "stop"
DONE = "done"
_END_BOUND_S = 10.0
# One line holds the results of a whole run: 100,000 writes are a few megabytes.
_LINE_BYTES_MAX = 256 * 1024 * 1024
READY_BOUND_S = 120.0
"""An anchor sets ten thousand watches one by one before it is ready."""


class ChildError(Exception):
    """A child ended by itself, or did not do in time what it was told."""


class Child:
    """The parent's view of a running child."""

    def __init__(self, module: str, process: asyncio.subprocess.Process) -> None:
        self._module = module
        self._process = process

    async def go(self) -> None:
        """Let it begin."""
        await self._say(GO)

    async def done(self, bound_s: float) -> None:
        """Wait until it has finished by itself; it still waits for `stop`."""
        await self._expect(DONE, bound_s)

    async def stop(self, bound_s: float = 60.0) -> Any:
        """End it; returns its results."""
        await self._say(STOP)
        line = await self._line(bound_s)
        # It may have finished just before it was told.
        return json.loads(await self._line(bound_s) if line == DONE else line)

    async def expect_ready(self) -> None:
        """Wait until it is ready to go."""
        await self._expect(READY, READY_BOUND_S)

    async def hand(self, job: Any) -> None:
        """Give it its job."""
        await self._say(json.dumps(job))

    async def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        await self._process.stdin.drain()

    async def _expect(self, word: str, bound_s: float) -> None:
        line = await self._line(bound_s)
        if line != word:
            msg = f"expected {word!r} from {self._module}, saw {line[:80]!r}: see its own message"
            raise ChildError(msg)

    async def _line(self, bound_s: float) -> str:
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), bound_s)
        except TimeoutError:
            msg = f"expected a word of {self._module} within {bound_s:g} s, saw none"
            raise ChildError(msg) from None
        return line.decode().strip()


@contextlib.asynccontextmanager
async def started(module: str, job: Any, *arguments: str) -> AsyncGenerator[Child]:
    """A child that is ready; ended at the latest on leaving."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"tests.performance.{module}",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES_MAX,
    )
    child = Child(module, process)
    try:
        await child.hand(job)
        await child.expect_ready()
        yield child
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _END_BOUND_S)
        except TimeoutError:
            process.kill()
            await process.wait()


class Orders:
    """The child's view: its job and what it is told. For children with an event loop."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    @staticmethod
    async def listen() -> Orders:
        """Take over standard input."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        return Orders(reader)

    async def job(self) -> Any:
        """What to do."""
        return json.loads(await self._reader.readline())

    async def next(self) -> str:
        """The next word; empty when the parent has ended."""
        return (await self._reader.readline()).decode().strip()


def say(word: str) -> None:
    """Tell the parent."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def tell(results: object) -> None:
    """Hand over the results."""
    say(json.dumps(results, separators=(",", ":")))
