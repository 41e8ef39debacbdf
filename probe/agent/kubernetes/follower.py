"""Keeps the rows of one kind as the API server has them: a list, then a watch from its version on.

A watch that ends goes on from the version that it has come to: the server remembers some minutes,
and bookmarks keep the version young where nothing happens. Only when the server has given that
version up (410) is everything listed anew. A kind that is not allowed, or not there, is asked for
again now and then, because somebody may grant or install it; it holds up no other kind. What was
seen of it holds for a while: a server that has just started may not know yet who may do what.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from enum import StrEnum

import msgspec

from probe.agent.errors import AnswerError, HttpError, RefusedError, SettingsError
from probe.agent.kubernetes.api import GONE, Api, Event
from probe.agent.kubernetes.kinds import Kind
from probe.agent.kubernetes.model import Bare
from probe.agent.kubernetes.tables import Sink
from probe.agent.text import clean

_RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
# Somebody may grant a permission or install a definition meanwhile.
_DENIED_RETRY_S = 60.0
# A server learns permissions and definitions after it has begun to answer.
_REFUSED_S = 30.0
# Between two refusals a server may fail otherwise. Longer than two pauses: it is the same trouble.
_REFUSED_AGAIN_S = 180.0
_FORBIDDEN, _NOT_FOUND = 403, 404
# A token that has run out, too many requests, a server that starts: what was seen still holds.
_FOR_NOW = frozenset({401, 429, 503})
# The server ends a watch then, so that connections spread over servers; bookmarks come each minute,
# and longer silence is a connection that nobody has ended.
_WATCH_S = (240.0, 360.0)
_SILENCE_S_MAX = 150.0
# A watch that lived so long was no failure.
_LIVED_S = 5.0


class Sight(StrEnum):
    """How much is seen of a kind."""

    STARTING = "starting"
    SYNCED = "synced"
    DENIED = "denied"
    ABSENT = "absent"
    TROUBLED = "troubled"


class Follower:
    """Follows one kind until cancelled."""

    def __init__(  # noqa: PLR0913 - by keyword, what it works with
        self,
        api: Api,
        kind: Kind,
        sink: Sink,
        *,
        selector: str = "",
        listing: asyncio.Lock,
        changed: Callable[[], None],
        chance: random.Random | None = None,
    ) -> None:
        """`listing` is shared, so that one page at a time is in memory; `changed` hears of each
        event."""
        self.kind = kind
        self.sight = Sight.STARTING
        self.problem = ""
        self.tried = asyncio.Event()
        """The first list has ended, whatever came of it."""
        self.lists = 0
        self.watches = 0
        self._api = api
        self._sink = sink
        self._selector = selector
        self._listing = listing
        self._changed = changed
        self._chance = chance or random.Random()  # noqa: S311 - pauses, no secrets
        self._version = ""
        # Of refusals without a success between them: when the first and the last came.
        self._refused: tuple[float, float] | None = None
        self._bare = msgspec.json.Decoder(Bare)
        self._object = msgspec.json.Decoder(kind.model)

    def __len__(self) -> int:
        return len(self._sink)

    async def run(self) -> None:
        """Follow."""
        failed = 0
        while True:
            began = asyncio.get_running_loop().time()
            pause = 0.0
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except (HttpError, SettingsError) as error:
                lived = asyncio.get_running_loop().time() - began > _LIVED_S
                failed = 0 if lived and self.sight is Sight.SYNCED else failed
                pause = self._note(error, failed)
            self.tried.set()
            failed += 1
            await asyncio.sleep(pause * self._chance.uniform(0.5, 1.5))

    def _note(self, error: HttpError | SettingsError, failed: int) -> float:
        """Note what went wrong; returns how long to wait."""
        status = error.status if isinstance(error, RefusedError) else 0
        if status == GONE:
            self._version = ""
            return _RETRY_S[min(failed, len(_RETRY_S) - 1)] if failed else 0.0
        if status in {_FORBIDDEN, _NOT_FOUND}:
            self.sight = Sight.ABSENT if status == _NOT_FOUND else Sight.DENIED
            self.problem = clean(str(error))
            return self._note_refusal(failed)
        # The end of a watch is nothing to tell of; that it cannot be begun again is.
        if failed or self.sight is not Sight.SYNCED:
            self.sight = Sight.TROUBLED
            self.problem = clean(str(error))
        if isinstance(error, AnswerError) or (status and status not in _FOR_NOW):
            self._version = ""
        return _RETRY_S[min(failed, len(_RETRY_S) - 1)]

    def _note_refusal(self, failed: int) -> float:
        now = asyncio.get_running_loop().time()
        first, last = self._refused or (now, now)
        if now - last > _REFUSED_AGAIN_S:
            first = now
        self._refused = (first, now)
        if now - first < _REFUSED_S:
            return _RETRY_S[min(failed, len(_RETRY_S) - 1)]
        # What may not be seen any more is not known any more.
        self._version = ""
        self._sink.clear()
        return _DENIED_RETRY_S

    async def _list(self) -> None:
        """Learn everything anew."""
        async with self._listing:
            self._sink.begin()
            version = ""
            pages = self._api.pages(self.kind.path, self.kind.model, self._selector)
            async with contextlib.aclosing(pages):
                async for page in pages:
                    for found in page.items or ():
                        self._sink.put(found)
                    version = page.metadata.resource_version
            self._sink.end()
        self.lists += 1
        self._version = version
        self._well()

    async def _watch(self) -> None:
        """Take events until there are no more; always ends with an error."""
        words = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(round(self._chance.uniform(*_WATCH_S))),
        }
        if self._selector:
            words["fieldSelector"] = self._selector
        watch = self._api.watch(self.kind.path, words, _SILENCE_S_MAX)
        try:
            async with contextlib.aclosing(watch.events()) as events:
                async for event in events:
                    if event is None:
                        self.watches += 1
                        self._well()
                    else:
                        self._take(event)
        finally:
            await watch.close()

    def _take(self, event: Event) -> None:
        try:
            if event.type in {"ADDED", "MODIFIED"}:
                found = self._object.decode(event.object)
                self._sink.put(found)
            else:
                found = self._bare.decode(event.object)
                if event.type == "DELETED":
                    self._sink.remove(found)
        except msgspec.MsgspecError as error:
            msg = f"expected an event of {self.kind.name}, saw {str(error)[:200]}"
            raise AnswerError(msg) from None
        self._version = found.metadata.resource_version
        if event.type != "BOOKMARK":
            self._changed()

    def _well(self) -> None:
        self.sight = Sight.SYNCED
        self.problem = ""
        self._refused = None
        self.tried.set()
