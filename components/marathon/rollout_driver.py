"""Carries out what components.marathon.rollout decides.

Look, decide, remember, act; again until it is done or taken back. What is remembered is kept before
the action, so that a driver that dies in between is followed by one that sees what it did. An app
that is locked is not forced: the next look shows the deployment, and the decision is to wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from clients.marathon import LockedError, RetryableError
from clients.marathon.model import App
from components.errors import RolloutError
from components.marathon.rollout import (
    Create,
    Decision,
    Delete,
    Done,
    Memory,
    Move,
    Observed,
    RolledBack,
    RolloutSpec,
    Scale,
    Standing,
    Undo,
    Version,
    decide,
)

if TYPE_CHECKING:
    from clients.marathon import MarathonClient

_POLL_S = 2.0
# Of reads and writes that fail for now; between two that succeed.
_FAILURES_MAX = 30


class Traffic(Protocol):
    """Who sends requests to versions, and counts those that fail."""

    async def move(self, app_id: str) -> None:
        """Send all requests to one app; doing it twice is doing it once."""

    async def failures(self, app_id: str) -> float | None:
        """Share of an app's requests that fail now; None where it is not known."""


class Everybody:
    """No balancer of ours: each instance that is there gets requests, and nobody counts."""

    async def move(self, app_id: str) -> None:
        """Nothing to move."""

    async def failures(self, app_id: str) -> float | None:
        """Not known."""


@dataclass
class Rollout:
    """One rollout, from the app `old_id` (which may be absent) to `definition`.

    `keep` writes down a decision before it is carried out; `clock` is one that goes on over
    restarts, like `time.time`.
    """

    client: MarathonClient
    spec: RolloutSpec
    old_id: str
    definition: Mapping[str, Any]
    clock: Callable[[], float]
    keep: Callable[[Decision], Awaitable[None]]
    traffic: Traffic = field(default_factory=Everybody)
    poll_s: float = _POLL_S

    @property
    def new_id(self) -> str:
        """The new version's app."""
        return str(self.definition["id"])

    async def run(self, memory: Memory, *, timeout_s: float) -> Memory:
        """Go on until the new version is alone.

        Raises:
            RolloutError: it was taken back, or neither ended in time.
        """
        failures = 0
        reason = "nothing has been seen"
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    try:
                        decision = decide(self.spec, memory, await self.observe(), self.clock())
                        reason, memory = decision.reason, decision.memory
                        await self.keep(decision)
                        if isinstance(decision.action, Done):
                            return memory
                        if isinstance(decision.action, RolledBack):
                            break
                        await self.act(decision)
                        failures = 0
                    except RetryableError as error:
                        failures += not isinstance(error, LockedError)
                        if failures > _FAILURES_MAX:
                            raise
                    await asyncio.sleep(self.poll_s)
        except TimeoutError:
            msg = (
                f"expected {self.new_id} to be rolled out within {timeout_s:g} s, saw: {reason}. "
                "Both versions stand as they are: run it again to go on"
            )
            raise RolloutError(msg) from None
        msg = (
            f"expected {self.new_id} to take the place of {self.old_id}, saw it taken back: "
            f"{reason}. Mend it and declare it anew"
        )
        raise RolloutError(msg)

    async def observe(self) -> Observed:
        """Look at both versions."""
        old = await self.client.app(self.old_id)
        new = await self.client.app(self.new_id)
        failures = None if new is None else await self.traffic.failures(self.new_id)
        return Observed(_standing(old), _standing(new), failures)

    async def act(self, decision: Decision) -> None:
        """Do one thing; what it starts is seen by the next look."""
        match decision.action:
            case Create(instances):
                await self.client.create_app({**self.definition, "instances": instances})
            case Scale(version, instances):
                await self.client.scale_app(self._id(version), instances)
            case Move(to):
                await self.traffic.move(self._id(to))
            case Undo(version):
                app = await self.client.app(self._id(version))
                for deployment_id in () if app is None else app.deployments:
                    await self.client.roll_back(deployment_id)
            case Delete(version):
                await self.client.delete_app(self._id(version))
            case _:
                pass

    def _id(self, version: Version) -> str:
        return self.old_id if version is Version.OLD else self.new_id


def _standing(app: App | None) -> Standing | None:
    if app is None:
        return None
    # Without a health check all that is known of an instance is that it runs.
    healthy = app.healthy if app.has_health_checks else app.running
    return Standing(app.instances, healthy, is_locked=bool(app.deployments))
