"""Images of a container runtime: listed when they have changed, beside what is told of containers.

A runtime lists images for long while it pulls or removes some; nobody waits for them. One that does
not list them at all is missed by that, and asked again now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, NoReturn

from probe.agent.collector import Miss
from probe.agent.errors import HttpError
from probe.agent.site import Site
from probe.agent.text import clean, clean_all

_AGAIN_S = 60.0


class ListedImage(NamedTuple):
    """An image, as a runtime lists it."""

    id: str
    tags: Sequence[str]
    size_bytes: int


class ContainerImages:
    """Images of one runtime. `fetch` asks it for all of them."""

    def __init__(self, site: Site, fetch: Callable[[], Awaitable[list[ListedImage]]]) -> None:
        self._table = site.ledger["container_image"]
        self._fetch = fetch
        self._ids: set[str] = set()
        self._problem: str | None = None
        self._changed = asyncio.Event()
        self.listed = asyncio.Event()
        """Set once they were listed, or could not be."""

    def note_change(self) -> None:
        """Have them listed anew."""
        self._changed.set()

    async def follow(self) -> NoReturn:
        """List them after each change."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if self._problem is None else _AGAIN_S):
                    await self._changed.wait()
            self._changed.clear()
            try:
                self._tell(await self._fetch())
                self._problem = None
            except HttpError as error:
                self._problem = clean(str(error))
            self.listed.set()

    def misses(self) -> list[Miss]:
        """What could not be listed."""
        if self._problem is None:
            return []
        return [Miss(f"images ({self._problem})", "a runtime that lists them")]

    def _tell(self, images: Sequence[ListedImage]) -> None:
        now = {clean(image.id) for image in images}
        for gone in self._ids - now:
            self._table.remove(gone)
        self._ids = now
        for image in images:
            tags = clean_all(list(image.tags))
            self._table.put(
                clean(image.id),
                name=tags[0] if tags else None,
                tags=tags,
                size_bytes=image.size_bytes,
            )
