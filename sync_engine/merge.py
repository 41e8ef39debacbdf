"""Merge hooks: somebody else's code that makes one version out of two.

A hook is an entry point of group `mesos_platform.sync.merge`: a callable that takes `Versions` and
returns the merged data. It must give for its own result and one of the versions that result again,
because a crash between the two writes asks it so. It runs in a thread of its own; one that raises,
takes too long or returns something else leaves the path to an operator. A thread cannot be stopped,
so hooks that hang are counted, and after a few none is asked any more.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points

from sync_engine.errors import MergeError, RulesError

GROUP = "mesos_platform.sync.merge"
_HANGING_MAX = 3


@dataclass(frozen=True, slots=True)
class Versions:
    """What a hook is given: the path below the subtree's root, and both sides' data."""

    subtree: str
    path: str
    a: bytes | None
    b: bytes | None


Hook = Callable[[Versions], object]


def find_hook(name: str) -> Hook:
    """Load a hook by its name.

    Raises:
        RulesError: no package offers it, or it cannot be loaded.
    """
    found = entry_points(group=GROUP, name=name)
    if not found:
        known = ", ".join(sorted(point.name for point in entry_points(group=GROUP))) or "none"
        msg = (
            f"expected a merge hook {name!r} among the entry points of {GROUP} ({known}), saw "
            "none: install the package that offers it, or correct merge_hook"
        )
        raise RulesError(msg)
    try:
        return next(iter(found)).load()
    except (ImportError, AttributeError) as error:
        msg = f"expected merge hook {name!r} to load, saw {error}: mend its package"
        raise RulesError(msg) from None


class MergeRunner:
    """Asks one hook, with a bound on its time."""

    def __init__(self, name: str, hook: Hook, *, timeout_s: float) -> None:
        self._name = name
        self._hook = hook
        self._timeout_s = timeout_s
        self._hanging = 0

    async def merge(self, versions: Versions) -> bytes:
        """The merged data.

        Raises:
            MergeError: the hook failed, took too long, or gave something else than bytes.
        """
        if self._hanging >= _HANGING_MAX:
            msg = f"merge hook {self._name!r} hangs {self._hanging} times already: not asked again"
            raise MergeError(msg)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[object] = loop.create_future()
        # A daemon: the process must be able to end while a hook hangs.
        threading.Thread(
            target=self._work, args=(versions, loop, answer), name="merge-hook", daemon=True
        ).start()
        self._hanging += 1
        answer.add_done_callback(self._on_answer)
        try:
            # Shielded: a hook that answers late is no longer one that hangs.
            async with asyncio.timeout(self._timeout_s):
                merged = await asyncio.shield(answer)
        except TimeoutError:
            msg = f"merge hook {self._name!r} gave no answer within {self._timeout_s:g} s"
            raise MergeError(msg) from None
        if isinstance(merged, BaseException):
            msg = f"merge hook {self._name!r} failed: {type(merged).__name__}"
            raise MergeError(msg)
        if not isinstance(merged, bytes):
            msg = f"merge hook {self._name!r} gave {type(merged).__name__}, not bytes"
            raise MergeError(msg)
        return merged

    def _on_answer(self, answer: asyncio.Future[object]) -> None:
        del answer  # What it was is for `merge` to see.
        self._hanging -= 1

    def _work(
        self,
        versions: Versions,
        loop: asyncio.AbstractEventLoop,
        answer: asyncio.Future[object],
    ) -> None:
        outcome: object
        try:
            outcome = self._hook(versions)
        except BaseException as error:  # noqa: BLE001 - a hook may raise anything
            # The boundary to code of others, in a thread that is theirs alone.
            outcome = error
        try:
            loop.call_soon_threadsafe(_answer, answer, outcome)
        except RuntimeError:
            # The event loop has ended before the hook.
            return


def _answer(answer: asyncio.Future[object], outcome: object) -> None:
    if not answer.done():
        answer.set_result(outcome)
