"""Which of several Marathons leads: a LeaderLatch on `<zk>/leader-curator`, as Curator makes it.

Each takes part with an ephemeral sequential node whose data is its `host:port`; the lowest number
leads. A leader that loses its place ends, as the real one does; whoever is next leads then.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

from stacks.local.session import NodeExistsError, NoNodeError, Session, ZooKeeperError

FOLDER = "leader-curator"
_PAUSE_S = 0.2


def number_of(name: str) -> int:
    """The sequence number at the end of a name."""
    return int(name[-10:])


class Latch:
    """One participant."""

    def __init__(self, session: Session, path: str, host_port: str) -> None:
        self._session = session
        self._folder = f"{path}/{FOLDER}"
        self._host_port = host_port
        self._prefix = f"_c_{uuid.uuid4()}-latch-"
        self._wake = asyncio.Event()
        self._own: str | None = None
        self.leader: str | None = None
        self.is_leader = False
        session.on_change(self._wake.set)

    async def run(self, changed: Callable[[], None]) -> None:
        """Take part and call back at every change of the leader; never returns."""
        first = True
        while True:
            self._wake.clear()
            before = (self.leader, self.is_leader)
            try:
                if self._session.connected.is_set():
                    await self._look()
            except ZooKeeperError:
                await asyncio.sleep(_PAUSE_S)
                continue
            if first or before != (self.leader, self.is_leader):
                first = False
                changed()
            await self._wake.wait()

    async def _look(self) -> None:
        # Some find Marathon by it, so everybody may read it.
        await self._session.ensure(self._folder, self._session.acl)
        children = await self._children()
        if self._own is None or self._own not in children:
            await self._join(children)
            children = await self._children()
        leading = min(children, key=number_of)
        try:
            node = await self._session.get(f"{self._folder}/{leading}")
        except NoNodeError:
            self._wake.set()
            return
        self.leader, self.is_leader = node.data.decode(), leading == self._own

    async def _children(self) -> list[str]:
        found = await self._session.children(self._folder, self._wake.set)
        return [name for name in found if name[-10:].isdigit()]

    async def _join(self, children: list[str]) -> None:
        # An attempt whose answer was lost may have created it: the name is our own.
        mine = [name for name in children if name.startswith(self._prefix)]
        if mine:
            self._own = mine[0]
            return
        try:
            path = await self._session.create(
                f"{self._folder}/{self._prefix}",
                self._host_port.encode(),
                ephemeral=True,
                sequence=True,
                acl=self._session.acl,
            )
        except NodeExistsError:
            return
        self._own = path.rpartition("/")[2]
