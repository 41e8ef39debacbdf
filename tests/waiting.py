"""Waiting until something holds: looked at again and again, with a bound, never slept for luck."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar, overload

BOUND_S = 15.0
_POLL_S = 0.02
T = TypeVar("T")


@overload
async def until(
    condition: Callable[[], Awaitable[T | None]], what: str, bound_s: float = BOUND_S
) -> T: ...
@overload
async def until(condition: Callable[[], T | None], what: str, bound_s: float = BOUND_S) -> T: ...
async def until(condition: Callable[[], Any], what: str, bound_s: float = BOUND_S) -> Any:
    """Wait for a condition, which may have to ask somebody; returns its first true value."""
    deadline = time.monotonic() + bound_s
    while True:
        found: Any = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        _check(deadline, what, bound_s)
        await asyncio.sleep(_POLL_S)


def block_until(condition: Callable[[], T | None], what: str, bound_s: float = BOUND_S) -> T:
    """`until` for tests without an event loop."""
    deadline = time.monotonic() + bound_s
    while not (found := condition()):
        _check(deadline, what, bound_s)
        time.sleep(_POLL_S)
    return found


def block_until_written(file: Path, bound_s: float = BOUND_S) -> str:
    """What another process writes into a file."""
    return block_until(
        lambda: file.read_text().strip() if file.exists() else None, f"a text in {file}", bound_s
    )


def _check(deadline: float, what: str, bound_s: float) -> None:
    assert time.monotonic() < deadline, f"{what} did not happen within {bound_s:g} s"
