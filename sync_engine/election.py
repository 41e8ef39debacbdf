"""Shows one side's election winner to the clients of the other side, and keeps it there.

One znode with the leader's bytes stands in the other side's election path, at a number below every
live one (`numbering.py`): whoever watches that path follows that leader. It is the only bridge
between two elections. It belongs to a session of its own, which is re-attached after a crash of the
engine, so that clients do not see one; with the kind "persistent" it outlives the engine
altogether. A leader that goes without a successor stays shown.

Every change is one transaction: the fence, the projection's document, the new node and the end of
the old one, so that what the document says is what stands in the path. The election fence lets
nobody but the engine create in the path.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from sync_engine import documents, numbering, session_file
from sync_engine.acl_fence import fence_for_all, is_fenced
from sync_engine.candidates import Leader, read_leader
from sync_engine.direction import Side
from sync_engine.documents import Projected
from sync_engine.errors import (
    BadVersionError,
    ConnectionLostError,
    EngineBusyError,
    EngineRefusedError,
    FencedError,
    MultiFailedError,
    NoNodeError,
    SyncError,
)
from sync_engine.fence import Fence
from sync_engine.fencing import check_is_super
from sync_engine.lane import LaneState
from sync_engine.link import Link
from sync_engine.report import ProjectionKind, ProjectionStatus
from sync_engine.rows import decode_acl, encode_acl
from sync_engine.settings import ProjectionRule
from sync_engine.slots import ensure
from sync_engine.wire import ANY_VERSION, Create, Delete, Op, SetData
from sync_engine.znode import Stat, join

_log = structlog.get_logger()
# Watches tell of every change; this finds what a watch cannot tell, and a lost one.
_LOOK_AGAIN_S = 1.0
_ATTEMPTS_MAX = 5
_START_BOUND_S = 5.0
_START_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class Shown:
    """What stands in the other side's election path."""

    others: tuple[int, ...]
    counter: int
    own: Stat | None


class Projector:
    """The worker of one projection."""

    def __init__(
        self, rule: ProjectionRule, links: Mapping[Side, Link], fence: Fence, state_dir: Path
    ) -> None:
        self.rule = rule
        self._source = rule.source
        self._target = rule.source.other
        self._links = links
        self._fence = fence
        self._session_file = state_dir / f"projection-{rule.name}.session"
        self._document = documents.projection_path(rule.name)
        self._doc = Projected()
        self._leader: Leader | None = None
        self._is_fenced = False
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        self.trouble: str | None = None
        self._lane = links[self._target].lane(session_file.load(self._session_file))
        self._lane.on_state(self._on_state)

    # Life

    async def attach(self) -> None:
        """Take the saved session up again, before it expires; writes nothing."""
        while True:
            try:
                await self._lane.start(bound_s=_START_BOUND_S)
                break
            except ConnectionLostError:
                await asyncio.sleep(_START_PAUSE_S)

    async def start(self) -> None:
        """Go on with what the document says. `attach` comes before."""
        link = self._links[self._target]
        await ensure(link, self._document)
        data, _ = await link.writer.get(self._document)
        self._doc = documents.decode(Projected, data, self._document) if data else Projected()
        for side in Side:
            await self._links[side].follow(self.rule.path(side))

    async def run(self) -> None:
        """Follow the leader for ever.

        Raises:
            FencedError: another engine has taken over.
        """
        while True:
            await self._heard()
            self._wake.clear()
            try:
                async with self._lock:
                    await self._look()
                self.trouble = None
            except FencedError:
                raise
            except SyncError as error:
                # Whatever it is, what stands in the path stays, and the status tells.
                self.trouble = f"projection {self.rule.name}: {error}"
                _log.warning("projection.trouble", name=self.rule.name, error=str(error))

    async def _heard(self) -> None:
        """Wait for a change, or for the time to look anyway."""
        # Not wait_for: in Python 3.11 it may swallow a cancellation.
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_AGAIN_S):
                await self._wake.wait()

    async def close(self) -> None:
        """End; an ephemeral projection stays until its session is re-attached or expires."""
        await self._lane.close(keep_session=self._doc.kind is ProjectionKind.EPHEMERAL)

    def wake(self) -> None:
        """Say that an election path may have changed."""
        self._wake.set()

    @property
    def target(self) -> Side:
        """The side whose election path it writes."""
        return self._target

    @property
    def session_id(self) -> int:
        """The session that owns an ephemeral projection."""
        return self._lane.session_id

    @property
    def is_connected(self) -> bool:
        """Whether that session has a server."""
        return self._lane.connected.is_set()

    def status(self) -> ProjectionStatus:
        """What stands in the path, as far as known."""
        return ProjectionStatus(
            kind=self._doc.kind,
            number=self._doc.number,
            leader=self._address(),
            fenced=self._is_fenced,
            changed_at=self._doc.changed_at,
        )

    # Requests

    async def set_kind(self, kind: ProjectionKind, timeout_s: float) -> ProjectionStatus:
        """Show, show otherwise or hide the leader; returns when in effect. May be called again.

        Raises:
            EngineRefusedError: no number is free.
            EngineBusyError: not in time, as when there is no leader to show.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    async with self._lock:
                        if await self._reach(kind):
                            return self.status()
                    await self._heard()
        except TimeoutError:
            msg = (
                f"expected the projection to be {kind.value} within {timeout_s:g} s, saw "
                f"{self.trouble or f'no leader on side {self._source.value}'}: try again"
            )
            raise EngineBusyError(msg) from None

    async def set_fence(self, *, fenced: bool) -> ProjectionStatus:
        """Let nobody but the engine create in the election path, or everybody again.

        Raises:
            EngineRefusedError: there is no election path, or the engine may not.
            EngineBusyError: somebody else keeps changing the ACL.
        """
        async with self._lock:
            if fenced:
                await check_is_super(self._links[self._target])
            await self._apply_fence(fenced=fenced)
            return self.status()

    # Work; the lock is held

    async def _look(self) -> None:
        if self._doc.fence_wanted:
            await self._apply_fence(fenced=True)
        await self._reach(self._doc.kind)

    async def _reach(self, kind: ProjectionKind) -> bool:
        """Bring the path to a kind; False while there is no leader to show."""
        for _ in range(_ATTEMPTS_MAX):
            shown = await self._read_shown()
            leader = await read_leader(self._links[self._source].reader, self.rule)
            try:
                return await self._reach_from(kind, shown, leader)
            except MultiFailedError as error:
                _log.info("projection.again", name=self.rule.name, error=str(error))
            except ConnectionLostError as error:
                if not error.sent:
                    raise
                await self._reload()
        msg = f"expected {self._path()} to stand still, saw {_ATTEMPTS_MAX} changes: try again"
        raise EngineBusyError(msg)

    async def _reach_from(self, kind: ProjectionKind, shown: Shown, leader: Leader | None) -> bool:
        doc = self._doc
        if kind is ProjectionKind.OFF:
            if doc.number is not None or doc.kind is not kind:
                await self._change(shown, None, None, doc.model_copy(update=_nothing()))
            return True
        if leader is None:
            return self._is_right(kind, shown)
        self._leader = leader
        if self._is_right(kind, shown) and doc.leader_node == leader.node:
            return True
        number = numbering.choose(
            shown.others, counter=shown.counter, own=doc.number, history=doc.history
        )
        update = {
            "kind": kind,
            "number": number,
            "leader_node": leader.node,
            "history": numbering.remembered(doc.history, number),
            "changed_at": time.time(),
        }
        await self._change(shown, leader, number, doc.model_copy(update=update))
        return True

    def _is_right(self, kind: ProjectionKind, shown: Shown) -> bool:
        """Whether the node that stands there is of the kind, ours, and leads."""
        number = self._doc.number
        if shown.own is None or number is None or self._doc.kind is not kind:
            return False
        owner = self._lane.session_id if kind is ProjectionKind.EPHEMERAL else 0
        return shown.own.ephemeral_owner == owner and number < min(shown.others, default=number + 1)

    async def _change(
        self, shown: Shown, leader: Leader | None, number: int | None, doc: Projected
    ) -> None:
        """One transaction from what stands there to what the new document says."""
        ops: list[Op] = [SetData(self._document, doc.encode(), ANY_VERSION)]
        if leader is not None and number is not None:
            ephemeral = doc.kind is ProjectionKind.EPHEMERAL
            acl = self._links[self._target].own_acl
            ops.append(Create(self._path(number), leader.data, acl, ephemeral))
        if shown.own is not None and self._doc.number is not None:
            ops.append(Delete(self._path(self._doc.number), ANY_VERSION))
        # The session that sends it owns the ephemeral.
        await self._fence.transact(self._target, ops, lane=self._lane)
        self._doc = doc
        _log.info(
            "projection.changed",
            name=self.rule.name,
            kind=doc.kind,
            number=number,
            leader=self._address(),
        )

    async def _apply_fence(self, *, fenced: bool) -> None:
        lane, path = self._links[self._target].writer, self._path()
        for _ in range(_ATTEMPTS_MAX):
            try:
                acl, stat = await lane.get_acl(path)
            except NoNodeError:
                msg = f"expected an election path {path}, saw none: start that side's masters first"
                raise EngineRefusedError(msg, type="NoElectionPath") from None
            self._is_fenced = is_fenced(acl)
            wanted = acl
            if fenced and not self._is_fenced:
                wanted = fence_for_all(acl)
                await self._save({"fence_wanted": True, "original_acl": encode_acl(acl)})
            elif not fenced and self._is_fenced:
                wanted = decode_acl(self._doc.original_acl or encode_acl(acl))
            try:
                if wanted != acl:
                    await lane.set_acl(path, wanted, stat.aversion)
            except BadVersionError:
                continue
            if not fenced and self._doc.fence_wanted:
                await self._save({"fence_wanted": False})
            self._is_fenced = is_fenced(wanted)
            return
        msg = f"expected the ACL of {path} to stand still, saw it change each time: try again"
        raise EngineBusyError(msg)

    async def _save(self, update: Mapping[str, object]) -> None:
        doc = self._doc.model_copy(update=update)
        note = SetData(self._document, doc.encode(), ANY_VERSION)
        await self._fence.transact(self._target, [note])
        self._doc = doc

    # Reads

    async def _read_shown(self) -> Shown:
        lane, path = self._lane, self._path()
        # On the session that writes, so it sees its own writes; a sync for those of others.
        await lane.sync(path)
        try:
            names, stat = await lane.children(path)
        except NoNodeError:
            msg = f"expected an election path {path}, saw none: start that side's masters first"
            raise EngineRefusedError(msg, type="NoElectionPath") from None
        own = None if self._doc.number is None else self._own_name(self._doc.number)
        others = [
            number
            for name in names
            if name != own and (number := numbering.number_of(name)) is not None
        ]
        found = await lane.exists(join(path, own)) if own in names else None
        return Shown(tuple(others), stat.creates, found)

    async def _reload(self) -> None:
        """Read the document again after a change whose outcome is not known."""
        await self._lane.connected.wait()
        await self._lane.sync(self._document)
        data, _ = await self._lane.get(self._document)
        self._doc = documents.decode(Projected, data, self._document) if data else Projected()

    def _address(self) -> str | None:
        if self._doc.number is None or self._leader is None:
            return None
        return numbering.address_of(self._leader.data)

    def _own_name(self, number: int) -> str:
        return numbering.node_name(self.rule.label, number)

    def _path(self, number: int | None = None) -> str:
        path = self.rule.path(self._target)
        return path if number is None else join(path, self._own_name(number))

    def _on_state(self, state: LaneState) -> None:
        if state is LaneState.CONNECTED:
            session_file.save(self._session_file, self._lane.saved)
        self._wake.set()


def _nothing() -> dict[str, object]:
    return {
        "kind": ProjectionKind.OFF,
        "number": None,
        "leader_node": None,
        "changed_at": time.time(),
    }
