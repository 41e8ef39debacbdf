"""The registry of a master group: read by a new leader from a quorum, changed by quorum writes.

Three jobs. *Recovery*: a replica that may not vote yet catches up from a quorum of voters, or
starts empty together with the whole group where that is allowed. *Fetch*: a new leader collects
promises from a quorum, adopts the newest document and writes it back under its own proposal.
*Store*: each change is a quorum write of the next position; a replica that is promised to somebody
else deposes the leader. The group is whoever stands in `log_replicas` of the election path, as in
Mesos (a stray child there joins it, too), or the configured peers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import structlog

from stacks.local.errors import DeposedError, NoQuorumError, RegistryError
from stacks.local.mesos.replica import Document, Register, Replica, Status

_PAUSE_S = 0.1
_log = structlog.get_logger()

Answer = dict[str, Any]


class Peers(Protocol):
    """How other replicas are reached."""

    @property
    def addresses(self) -> Sequence[str]:
        """`host:port` of the other members of the group."""
        ...

    async def ask(self, address: str, message: dict[str, Any]) -> Answer | None:
        """Send a message; None when no answer came in time."""
        ...


@dataclass
class StoreTimes:
    """How long quorum writes took, for metrics."""

    fetch_ms: float = 0.0
    store_ms: list[float] = field(default_factory=list[float])

    def note_store(self, milliseconds: float) -> None:
        """Keep the last hundred."""
        self.store_ms = [*self.store_ms[-99:], milliseconds]


@dataclass(eq=False)
class _Waiting:
    """A change on its way into the document."""

    change: Callable[[Document], Document]
    written: bool = False
    error: RegistryError | None = None


class Registrar:
    """The registry as this master sees it."""

    def __init__(
        self, replica: Replica, peers: Peers, *, quorum: int, auto_initialize: bool
    ) -> None:
        self._replica = replica
        self._peers = peers
        self._quorum = quorum
        self._auto_initialize = auto_initialize
        self._proposal = 0
        self._position = 0
        self._lock = asyncio.Lock()
        self._recovering = asyncio.Lock()
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Future[None] | None = None
        self.queued = 0
        self.times = StoreTimes()
        self.document: Document = {}

    @property
    def is_recovered(self) -> bool:
        """Whether this master's replica takes part in the group."""
        return self._replica.register.status is Status.VOTING

    @property
    def ensemble_size(self) -> int:
        """Members of the group, this one included."""
        return len(self._peers.addresses) + 1

    async def _ask_all(self, message: dict[str, Any]) -> list[Answer]:
        asked = (self._peers.ask(address, message) for address in self._peers.addresses)
        answers = await asyncio.gather(*asked)
        return [answer for answer in answers if answer is not None]

    async def recover(self) -> None:
        """Return once the own replica votes; waits for peers as long as it takes."""
        async with self._recovering:
            if self.is_recovered:
                return
            while not await self._try_recover():  # noqa: ASYNC110 - peers send no event
                await asyncio.sleep(_PAUSE_S)
            _log.info("registry.recovered", position=self._replica.register.position)

    async def _try_recover(self) -> bool:
        answers = await self._ask_all({"type": "FETCH"})
        voters = [_register(a) for a in answers if a["status"] == Status.VOTING]
        if len(voters) >= self._quorum:
            newest = max(voters, key=lambda register: register.age)
            promised = max(register.promised for register in voters)
            self._replica.join(
                Register(Status.VOTING, promised, newest.accepted, newest.position, newest.document)
            )
            return True
        own = self._replica.register.status
        # The group is known to be complete only when all 2q-1 of it have answered.
        if not self._auto_initialize or len(answers) + 1 < 2 * self._quorum - 1:
            return False
        statuses = {str(answer["status"]) for answer in answers}
        if own is Status.EMPTY and Status.VOTING not in statuses:
            self._replica.start()
            return False
        if own is Status.STARTING and Status.EMPTY not in statuses:
            self._replica.join(Register())
            return True
        return False

    async def fetch(self, timeout_s: float) -> Document:
        """Become the one writer, and read the registry.

        Raises:
            NoQuorumError: no quorum promised in time.
        """
        started = time.monotonic()
        while True:
            self._proposal = max(self._proposal, self._replica.register.promised) + 1
            try:
                await self._take_over()
                break
            except NoQuorumError:
                if time.monotonic() - started > timeout_s:
                    raise
                await asyncio.sleep(_PAUSE_S)
        self.times.fetch_ms = (time.monotonic() - started) * 1000
        return self.document

    async def _take_over(self) -> None:
        message = {"type": "PROMISE", "proposal": self._proposal}
        answers = await self._ask_all(message)
        answers.append(self._replica.answer(message))
        promised = [_register(answer) for answer in answers if answer["ok"]]
        if len(promised) < self._quorum:
            self._proposal = max([self._proposal, *(int(a["promised"]) for a in answers)])
            raise NoQuorumError(
                expected=self._quorum, seen=len(promised), action="reading the registry"
            )
        newest = max(promised, key=lambda register: register.age)
        self._position = newest.position
        await self._write(newest.document)
        self.document = newest.document

    async def store(self, change: Callable[[Document], Document]) -> None:
        """Apply a change to the document and write it to a quorum, in order.

        What is asked for while a write is under way goes together into the next one: a thousand
        agents that register at once cost a few writes.

        Raises:
            NoQuorumError: too few replicas took it; the change may or may not hold.
            DeposedError: another leader writes.
        """
        waiting = _Waiting(change)
        self._waiting.append(waiting)
        self.queued += 1
        try:
            async with self._lock:
                if self._writing is not None:
                    # Left by a caller that was cancelled: its batch is still under way.
                    await asyncio.wait({self._writing})
                if not waiting.written:
                    batch, self._waiting = self._waiting, []
                    self._writing = asyncio.ensure_future(self._store(batch))
                    await asyncio.shield(self._writing)
        finally:
            self.queued -= 1
            if waiting in self._waiting:
                self._waiting.remove(waiting)
        if waiting.error is not None:
            raise waiting.error

    async def _store(self, batch: list[_Waiting]) -> None:
        for one in batch:
            one.written = True
        changed = self.document
        for one in batch:
            changed = one.change(changed)
        if changed == self.document:
            return
        started = time.monotonic()
        self._position += 1
        try:
            await self._write(changed)
        except (NoQuorumError, DeposedError) as error:
            for one in batch:
                one.error = error
            return
        self.document = changed
        self.times.note_store((time.monotonic() - started) * 1000)

    async def _write(self, document: Document) -> None:
        message = {
            "type": "WRITE",
            "proposal": self._proposal,
            "position": self._position,
            "document": document,
        }
        answers = await self._ask_all(message)
        answers.append(self._replica.answer(message))
        stored = sum(1 for answer in answers if answer["ok"])
        if stored >= self._quorum:
            return
        highest = max(int(answer["promised"]) for answer in answers)
        if highest > self._proposal:
            raise DeposedError(proposal=self._proposal, promised=highest)
        raise NoQuorumError(expected=self._quorum, seen=stored, action="writing the registry")


def _register(answer: Answer) -> Register:
    return Register(
        status=Status(answer["status"]),
        promised=int(answer["promised"]),
        accepted=int(answer["accepted"]),
        position=int(answer["position"]),
        document=cast("Document", answer.get("document") or {}),
    )
