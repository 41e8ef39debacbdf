"""Follows Marathon: looks when something has changed there, and now and then without cause.

Events only say that it is time to look; what is done follows from apps and tasks as Marathon has
them then, so that a lost event costs time and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from clients.marathon import MarathonError
from clients.marathon.model import App, Task

EVENTS = (
    "status_update_event",
    "instance_health_changed_event",
    "deployment_info",
    "deployment_step_success",
    "deployment_success",
    "deployment_failed",
)
SOON_S = 0.5
"""Until a look that is to be taken again."""
_LOOK_S_MAX = 5.0
_SUBSCRIBE_S_MAX = 15.0
_log = structlog.get_logger()


class Source(Protocol):
    """Marathon, as far as it is followed."""

    async def apps(self) -> Sequence[App]:
        """See clients.marathon."""
        ...

    async def tasks(self) -> Sequence[Task]:
        """See clients.marathon."""
        ...

    def events(self, kinds: tuple[str, ...] = ()) -> AsyncGenerator[object]:
        """See clients.marathon; the first event of a stream is itself one, for what was missed."""
        ...


class Follower:
    """Calls `look` after events, and after as many seconds as it returned. It is given the time of
    the first event that it is about, None without one; `clock` is monotonic, in seconds.

    `failures` of a look are told and it is taken again: soon, then less and less often, or when
    there is an event. `name` is the first word of what is logged. Events within `settle_s` after
    the first lead to one look.
    """

    def __init__(  # noqa: PLR0913 - by keyword, what a controller differs in
        self,
        name: str,
        source: Source,
        look: Callable[[float | None], Awaitable[float]],
        *,
        failures: tuple[type[Exception], ...],
        settle_s: float,
        clock: Callable[[], float],
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._name = name
        self._source = source
        self._look = look
        self._failures = failures
        self._settle_s = settle_s
        self._clock = clock
        self._on_failure = on_failure
        self._dirty = asyncio.Event()
        self._heard_at: float | None = None

    async def run(self) -> None:
        """Follow until cancelled.

        Raises:
            Exception: a look ended with something else than a failure.
        """
        parts = {asyncio.create_task(self._follow()), asyncio.create_task(self._work())}
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        finally:
            for one in parts:
                one.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    async def _follow(self) -> None:
        pause_s = SOON_S
        while True:
            try:
                async for _ in self._source.events(EVENTS):
                    pause_s = SOON_S
                    self._dirty.set()
                    if self._heard_at is None:
                        self._heard_at = self._clock()
            except MarathonError as error:
                _log.info(f"{self._name}.stream", error=str(error))
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _SUBSCRIBE_S_MAX)

    async def _work(self) -> None:
        pause_s = SOON_S
        while True:
            self._dirty.clear()
            heard_at, self._heard_at = self._heard_at, None
            try:
                wait_s = await self._look(heard_at)
            except self._failures as error:
                self._on_failure(error)
                # What was heard first is still to be learned.
                self._heard_at = self._heard_at if heard_at is None else heard_at
                # What lasts, a refusal say, is not asked for without a rest; who moves meanwhile
                # does not wait for it.
                await asyncio.sleep(SOON_S)
                await self._changed(pause_s - SOON_S)
                pause_s = min(2 * pause_s, _LOOK_S_MAX)
                continue
            pause_s = SOON_S
            if await self._changed(wait_s):
                await asyncio.sleep(self._settle_s)

    async def _changed(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                await self._dirty.wait()
        except TimeoutError:
            return False
        return True


class Doubt:
    """What must last before it is believed, such as that nothing is asked for any more: a Marathon
    that has lost its state has no apps either. `told` is called when a doubt begins."""

    def __init__(
        self, confirm_s: float, clock: Callable[[], float], told: Callable[[], None]
    ) -> None:
        self._confirm_s = confirm_s
        self._clock = clock
        self._told = told
        self._since: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is one: look again soon."""
        return self._since is not None

    def holds(self, *, doubtful: bool) -> bool:
        """Whether to wait on; each look says whether what it saw is doubtful."""
        if not doubtful:
            self._since = None
            return False
        now = self._clock()
        if self._since is None:
            self._since = now
            self._told()
        return now - self._since < self._confirm_s
