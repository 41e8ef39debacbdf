"""Who leads: candidates and detectors on one election path, as Mesos' contender and detector do it.

A candidate is an ephemeral sequential node `json.info_NNNNNNNNNN` that holds a MasterInfo as JSON.
The leader is the lowest number among *all* children whose last `_` part is numeric, whatever stands
before it, and whichever cluster the MasterInfo names: that is what makes a leader projection work.
Detectors compare numbers only, so new data under the same number goes unnoticed. Sources: Mesos'
src/master/contender/zookeeper.cpp, src/master/detector/zookeeper.cpp, src/zookeeper/group.cpp.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from stacks.local.errors import ElectionError
from stacks.local.session import NodeExistsError, NoNodeError, Session, ZooKeeperError

LABEL = "json.info_"
LOG_REPLICAS = "log_replicas"
_PAUSE_S = 0.5
_log = structlog.get_logger()


@dataclass(frozen=True)
class Leader:
    """The leading master, as its node describes it."""

    number: int
    id: str
    hostname: str
    port: int
    pid: str

    @property
    def address(self) -> str:
        """`host:port` of its HTTP interface."""
        return f"{self.hostname}:{self.port}"


def numbered(children: Iterable[str]) -> dict[int, str]:
    """Children that count in an election, by number; equal numbers collapse into one."""
    found: dict[int, str] = {}
    for name in sorted(children):
        last = name.rpartition("_")[2]
        if last.isdigit():
            found[int(last)] = name
    return found


def lowest(children: Iterable[str]) -> tuple[int, str] | None:
    """Number and name of the leading child; None when no child counts."""
    found = numbered(children)
    return min(found.items()) if found else None


def read_leader(number: int, name: str, data: bytes) -> Leader:
    """Read a leading node.

    Raises:
        ElectionError: it is no MasterInfo in JSON; every detector of the path fails on it.
    """
    if not name.startswith(LABEL):
        msg = f"expected the leading node to be {LABEL}NNNNNNNNNN, saw {name}: delete that node"
        raise ElectionError(msg)
    try:
        info: dict[str, Any] = json.loads(data)
        address: dict[str, Any] = info.get("address") or {}
        return Leader(
            number=number,
            id=str(info["id"]),
            hostname=str(info.get("hostname") or address.get("hostname") or address["ip"]),
            port=int(info["port"]),
            pid=str(info["pid"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"expected a MasterInfo as JSON in {name}, saw {error!r}: delete that node"
        raise ElectionError(msg) from None


class Detector:
    """Follows the leader of an election path."""

    def __init__(self, session: Session, path: str) -> None:
        self._session = session
        self._path = path
        self._wake = asyncio.Event()
        self._lost = False
        self.leader: Leader | None = None
        session.on_change(self._wake.set)
        session.on_lost(self._note_lost)

    def _note_lost(self) -> None:
        self._lost = True
        self._wake.set()

    async def run(self, changed: Callable[[Leader | None], None]) -> None:
        """Call back whenever another node leads, or none does; never returns.

        Raises:
            ElectionError: see `read_leader`.
        """
        first = True
        while True:
            self._wake.clear()
            try:
                leader = await self._detect()
            except ZooKeeperError:
                # Not known is not the same as nobody: keep the last one until the session is lost.
                leader = self.leader
            if self._lost and not self._session.connected.is_set():
                leader = None
            if first or leader != self.leader:
                first = False
                self.leader = leader
                changed(leader)
            await self._wake.wait()

    async def _detect(self) -> Leader | None:
        if not self._session.connected.is_set():
            return self.leader
        self._lost = False
        while True:
            try:
                children = await self._session.children(self._path, self._wake.set)
            except NoNodeError:
                if await self._session.exists(self._path, self._wake.set):
                    continue
                return None
            leading = lowest(children)
            if leading is None:
                return None
            number, name = leading
            if self.leader is not None and self.leader.number == number:
                return self.leader
            try:
                node = await self._session.get(f"{self._path}/{name}")
            except NoNodeError:
                continue  # Gone since the listing: list again.
            return read_leader(number, name, node.data)


class Candidacy:
    """A master's two ephemeral nodes: its place in the election and in the log's group."""

    def __init__(
        self, session: Session, path: str, *, info: dict[str, Any], replica_pid: str
    ) -> None:
        self._session = session
        self._path = path
        self._data = json.dumps(info, sort_keys=True, separators=(",", ":")).encode()
        self._replica_pid = replica_pid.encode()

    async def hold(self) -> None:
        """Join, and join again whenever the session was lost; never returns.

        A path that lets nobody create (a fenced one) is tried again: such a master serves as a
        follower of whoever leads there.
        """
        lost = asyncio.Event()
        self._session.on_lost(lost.set)
        while True:
            lost.clear()
            try:
                await self._session.connected.wait()
                await self._join()
            except ZooKeeperError as error:
                _log.warning("election.join_failed", path=self._path, error=repr(error))
                await asyncio.sleep(_PAUSE_S)
                continue
            await lost.wait()

    async def _join(self) -> None:
        session, acl = self._session, self._session.acl
        replicas = f"{self._path}/{LOG_REPLICAS}"
        # The log's group comes first: its node takes number 0 of the election path.
        if not await session.exists(replicas):
            await session.ensure(self._path, acl)
            try:
                await session.create(replicas, acl=acl)
            except NodeExistsError:
                pass
        await self._create_once(f"{replicas}/", self._replica_pid)
        node = await self._create_once(f"{self._path}/{LABEL}", self._data)
        _log.info("election.joined", node=node)

    async def _create_once(self, prefix: str, data: bytes) -> str:
        """Create a sequential node unless an attempt whose answer was lost has done it."""
        parent, _, label = prefix.rpartition("/")
        for name in await self._session.children(parent):
            if not name.startswith(label) or not name.rpartition("_")[2].isdigit():
                continue
            try:
                node = await self._session.get(f"{parent}/{name}")
            except NoNodeError:
                continue
            if node.owner == self._session.id and node.data == data:
                return f"{parent}/{name}"
        return await self._session.create(
            prefix, data, ephemeral=True, sequence=True, acl=self._session.acl
        )
