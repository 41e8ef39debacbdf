"""Start a deployment and see it end: by the event stream, and by looking.

Events tell at once. They can be missed (a stream that breaks, one that is silent for ever), so the
list of running deployments is looked at every few seconds too; a deployment that is in neither was
missed, and whether it went well shows in what it should have brought about. What does not end in
time is rolled back, and the error says why offers did not fit.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from clients.marathon.client import MarathonClient
from clients.marathon.errors import (
    DeploymentFailedError,
    DeploymentTimeoutError,
    MarathonError,
    ProtocolError,
    RetryableError,
)
from clients.marathon.events import Attached, DeploymentFailed, DeploymentSucceeded
from clients.marathon.model import Queued, Started

_KINDS = ("deployment_success", "deployment_failed", "event_stream_attached")
_LOOK_S = 5.0
_ATTACH_S = 5.0
_RESUBSCRIBE_S = 0.5
_REASONS_MAX = 3


@dataclass
class _Outcomes:
    """What the stream has told so far: deployment → None when it went well, or the reason."""

    ended: dict[str, str | None] = field(default_factory=dict[str, str | None])
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    attached: asyncio.Event = field(default_factory=asyncio.Event)


async def deploy(
    client: MarathonClient,
    what: str,
    start: Callable[[], Awaitable[Started | None]],
    *,
    timeout_s: float,
    holds: Callable[[], Awaitable[bool]],
) -> Started | None:
    """Start a deployment and wait for its end; None when there was nothing to deploy.

    `holds` tells whether what was wanted is so; it is asked when an end was missed. A deployment
    that has not ended after `timeout_s` is rolled back, for which it gets as long again.

    Raises:
        DeploymentTimeoutError: it did not end in time.
        DeploymentFailedError: it ended otherwise.
        MarathonError: it could not be started.
    """
    outcomes = _Outcomes()
    watch = asyncio.ensure_future(_watch(client, outcomes))
    try:
        # What ends before the stream is attached is found by looking.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ATTACH_S):
                await outcomes.attached.wait()
        started = await start()
        if started is None:
            return None
        try:
            async with asyncio.timeout(timeout_s):
                await _end_of(client, what, started.deployment_id, outcomes, holds)
        except TimeoutError:
            raise await _undo(client, what, started, outcomes, timeout_s) from None
        return started
    finally:
        watch.cancel()
        # Not awaited itself: a cancellation of this must not be taken for the watch's.
        await asyncio.gather(watch, return_exceptions=True)


async def _watch(client: MarathonClient, outcomes: _Outcomes) -> None:
    """Note ends; never returns. Without a stream only looking tells, so failures are no errors."""
    while True:
        try:
            async for event in client.events(_KINDS):
                match event:
                    case Attached():
                        outcomes.attached.set()
                    case DeploymentSucceeded(deployment_id):
                        outcomes.ended[deployment_id] = None
                        outcomes.changed.set()
                    case DeploymentFailed(deployment_id, reason):
                        outcomes.ended[deployment_id] = reason
                        outcomes.changed.set()
                    case _:
                        pass
        except (RetryableError, ProtocolError):
            await asyncio.sleep(_RESUBSCRIBE_S)
        except MarathonError:
            return


async def _end_of(
    client: MarathonClient,
    what: str,
    deployment_id: str,
    outcomes: _Outcomes,
    holds: Callable[[], Awaitable[bool]],
) -> None:
    while True:
        if deployment_id in outcomes.ended:
            reason = outcomes.ended[deployment_id]
            if reason is None:
                return
            msg = (
                f"expected {what} to be deployed, saw deployment {deployment_id} fail: {reason}. "
                "Look at its tasks' output, and declare it anew"
            )
            raise DeploymentFailedError(msg)
        outcomes.changed.clear()
        try:
            async with asyncio.timeout(_LOOK_S):
                await outcomes.changed.wait()
        except TimeoutError:
            if await _was_missed(client, deployment_id) and deployment_id not in outcomes.ended:
                if await holds():
                    return
                msg = (
                    f"expected {what} to be deployed, saw deployment {deployment_id} end without "
                    "it: somebody may have rolled it back. Declare it anew"
                )
                raise DeploymentFailedError(msg) from None


async def _was_missed(client: MarathonClient, deployment_id: str) -> bool:
    try:
        running = await client.deployments()
    except RetryableError:
        return False
    return all(one.id != deployment_id for one in running)


async def _undo(
    client: MarathonClient, what: str, started: Started, outcomes: _Outcomes, timeout_s: float
) -> DeploymentTimeoutError:
    reasons = await why_not_placed(client)
    rolled_back = False
    with contextlib.suppress(MarathonError, TimeoutError):
        undoing = await client.roll_back(started.deployment_id)

        async def undone() -> bool:
            return True

        if undoing is not None:
            async with asyncio.timeout(timeout_s):
                await _end_of(client, what, undoing.deployment_id, outcomes, undone)
        rolled_back = True
    return DeploymentTimeoutError(
        what, started.deployment_id, timeout_s, rolled_back=rolled_back, reasons=reasons
    )


async def why_not_placed(client: MarathonClient) -> str:
    """What waits for offers and why, in a sentence; says so when that cannot be read."""
    try:
        queue = await client.queue()
    except MarathonError as error:
        return f"Why is not known: {error}"
    if not queue:
        return "Nothing waits for offers: look at its tasks' output and health checks"
    return "; ".join(tell(one) for one in queue)


def tell(queued: Queued) -> str:
    """One app that waits."""
    reasons = ", ".join(
        f"{one.reason} {one.declined} of {one.processed}" for one in queued.reasons[:_REASONS_MAX]
    )
    told = reasons or f"no offer so far ({queued.processed_offers} seen)"
    delay = f", launched again in {queued.delay_s:g} s" if queued.delay_s else ""
    return f"{queued.id} waits for {queued.count}: {told}{delay}"
