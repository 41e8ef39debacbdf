"""Which of several probes watches a cluster: the holder of a Lease (coordination.k8s.io).

The rules are those of client-go's leader election, so that its tools read the same Lease: a holder
renews it; another may take it when it has not seen it move for the time that the holder gave.
Clocks of other machines are never compared with our own. Each write carries the version that was
read, so of two that try at once one is refused. Who could not renew for as long as the others wait
holds it no longer, because one of them may. Watching twice for a moment harms nothing, because
reports of the same node are merged: this is about load, not about safety.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any

import msgspec

from probe.agent.errors import HttpError, RefusedError, SettingsError
from probe.agent.kubernetes.api import CONFLICT, Api
from probe.agent.kubernetes.model import Meta
from probe.agent.text import clean

_NOT_FOUND = 404
_MERGE = "application/merge-patch+json"
# How often a holder says so in the time that the others wait.
_TRIES = 5
# Of one look at the lease: two of them in the 15 s that are usual, as client-go allows.
_STAND_S_MAX = 5.0


class LeaseSpec(msgspec.Struct, rename="camel"):
    """Who holds a lease, and for how long without a word."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(msgspec.Struct):
    """A lease."""

    metadata: Meta
    spec: LeaseSpec = msgspec.field(default_factory=LeaseSpec)


class Act(Enum):
    """What to do about a lease."""

    CREATE = auto()
    TAKE = auto()
    RENEW = auto()
    WAIT = auto()


@dataclass(frozen=True)
class Seen:
    """A lease as it was last seen to move, by our own clock."""

    holder: str
    version: str
    duration_s: float
    at: float


def decide(seen: Seen | None, me: str, now: float) -> Act:
    """What to do about a lease: pure."""
    if seen is None:
        return Act.CREATE
    if seen.holder == me:
        return Act.RENEW
    if not seen.holder or now - seen.at > seen.duration_s:
        return Act.TAKE
    return Act.WAIT


class Candidate:
    """One who may hold a lease. `clock` is monotonic, `wall` what others may read."""

    def __init__(  # noqa: PLR0913 - by keyword, what it works with
        self,
        api: Api,
        *,
        namespace: str,
        name: str,
        me: str,
        duration_s: float,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.me = me
        self.holder = ""
        self.problem = ""
        self.retry_s = duration_s / _TRIES
        self._api = api
        self._namespace = namespace
        self._name = name
        self._duration_s = duration_s
        self._clock = clock
        self._wall = wall
        self._seen: Seen | None = None
        self._renewed_at = -math.inf

    @property
    def is_holder(self) -> bool:
        """Whether the lease is ours: nobody else may have taken it."""
        return self.holder == self.me and self._clock() - self._renewed_at <= self._duration_s

    @property
    def path(self) -> str:
        """Where the lease lies."""
        return f"{self._all}/{self._name}"

    @property
    def _all(self) -> str:
        return f"/apis/coordination.k8s.io/v1/namespaces/{self._namespace}/leases"

    async def stand(self) -> None:
        """Look at the lease, and renew or take it where that is ours to do. Trouble is noted."""
        try:
            async with asyncio.timeout(_STAND_S_MAX):
                lease = await self._read()
                await self._act(lease, decide(self._seen, self.me, self._clock()))
            self.problem = ""
        except RefusedError as error:
            if error.status == CONFLICT:  # Somebody was faster; the next look tells who.
                return
            self.problem = clean(str(error))
        except (HttpError, SettingsError) as error:
            self.problem = clean(str(error))
        except TimeoutError:
            self.problem = f"expected an answer within {_STAND_S_MAX:g} s, saw none"

    async def resign(self) -> None:
        """Give the lease back, so that nobody has to wait for its end."""
        if not self.is_holder or self._seen is None:
            return
        self.holder = ""
        spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._time()}
        await self._patch(self._seen.version, spec)

    async def _read(self) -> Lease | None:
        try:
            lease = await self._api.call("GET", self.path, Lease)
        except RefusedError as error:
            if error.status != _NOT_FOUND:
                raise
            self._seen = None
            return None
        self._note(lease)
        return lease

    def _note(self, lease: Lease) -> None:
        version = lease.metadata.resource_version
        self.holder = clean(lease.spec.holder_identity or "")
        if self._seen is None or version != self._seen.version:
            duration_s = float(lease.spec.lease_duration_seconds or self._duration_s)
            self._seen = Seen(self.holder, version, duration_s, self._clock())

    async def _act(self, lease: Lease | None, act: Act) -> None:
        spec: dict[str, Any] = {
            "holderIdentity": self.me,
            # Whole seconds, and never less than what we go by ourselves.
            "leaseDurationSeconds": math.ceil(self._duration_s),
            "renewTime": self._time(),
        }
        # Others count from when it is written, which is later.
        began = self._clock()
        match act:
            case Act.WAIT:
                return
            case Act.CREATE:
                spec |= {"acquireTime": self._time(), "leaseTransitions": 0}
                body = {
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": {"name": self._name, "namespace": self._namespace},
                    "spec": spec,
                }
                written = await self._api.call("POST", self._all, Lease, body=body)
            case Act.TAKE:
                before = lease.spec.lease_transitions if lease is not None else None
                spec |= {"acquireTime": self._time(), "leaseTransitions": (before or 0) + 1}
                written = await self._patch(self._version, spec)
            case Act.RENEW:
                written = await self._patch(self._version, spec)
        self._note(written)
        self._renewed_at = began

    @property
    def _version(self) -> str:
        assert self._seen is not None, "only what was seen is written"
        return self._seen.version

    async def _patch(self, version: str, spec: dict[str, Any]) -> Lease:
        """Write, unless somebody else has written since."""
        body = {"metadata": {"resourceVersion": version}, "spec": spec}
        return await self._api.call("PATCH", self.path, Lease, body=body, content=_MERGE)

    def _time(self) -> str:
        now = datetime.fromtimestamp(self._wall(), UTC)
        return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
