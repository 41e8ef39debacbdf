"""A deployment's start, its end, what is missed and what takes too long."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from clients.marathon import (
    DeploymentFailedError,
    DeploymentTimeoutError,
    LockedError,
    deployment,
)
from clients.marathon.deployment import deploy
from clients.marathon.model import Started
from tests.clients.scripted import Answer, Feed
from tests.clients.test_marathon_client import STARTED, Marathon


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look and subscribe again without waiting."""
    for name in ("_LOOK_S", "_RESUBSCRIBE_S"):
        monkeypatch.setattr(deployment, name, 0.01)
    monkeypatch.setattr(deployment, "_ATTACH_S", 0.05)


async def run_deploy(
    marathon: Marathon, *, timeout_s: float = 5.0, holds: bool = True
) -> Started | None:
    async def held() -> bool:
        return holds

    async with marathon.client() as client:
        return await deploy(
            client, "/a", lambda: client.scale_app("/a", 2), timeout_s=timeout_s, holds=held
        )


def told(*events: tuple[str, Any]) -> httpx.Response:
    """A stream that tells these and goes on."""
    feed = Feed()
    feed.event("event_stream_attached", {})
    for kind, body in events:
        feed.event(kind, body)
    return httpx.Response(200, stream=feed)


RUNNING = httpx.Response(
    200,
    json=[{"id": "d1", "version": "v1", "currentStep": 1, "totalSteps": 1, "affectedApps": ["/a"]}],
)
NONE_RUN = httpx.Response(200, json=[])


def scaling(*events: tuple[str, Any], **answers: Sequence[Answer]) -> Marathon:
    return Marathon(
        **{
            "GET /v2/events": [told(*events)],
            "PUT /v2/apps/a": [httpx.Response(200, json=STARTED)],
            "GET /v2/deployments": [RUNNING],
            **answers,
        }
    )


async def test_a_deployments_end_is_told_by_the_stream() -> None:
    assert await run_deploy(scaling(("deployment_success", {"id": "d1"}))) == Started("d1", "v1")
    with pytest.raises(DeploymentFailedError, match="fail: cancelled"):
        await run_deploy(scaling(("deployment_failed", {"id": "d1", "reason": "cancelled"})))


async def test_an_end_that_was_missed_is_found_by_looking(fast: None) -> None:
    looks: dict[str, Sequence[Answer]] = {"GET /v2/deployments": [RUNNING, NONE_RUN]}
    assert await run_deploy(scaling(**looks)) == Started("d1", "v1")
    with pytest.raises(DeploymentFailedError, match="end without it"):
        await run_deploy(scaling(**looks), holds=False)


async def test_a_stream_that_breaks_is_opened_again(fast: None) -> None:
    broken = Feed()
    broken.end()
    again = told(("deployment_success", {"id": "d1"}))
    streams = [httpx.Response(200, stream=broken), again]
    marathon = scaling(**{"GET /v2/events": streams})
    assert await run_deploy(marathon) == Started("d1", "v1")
    assert marathon.kinds.count("GET /v2/events") == 2
    assert marathon.writes == ["PUT /v2/apps/a"]


async def test_what_takes_too_long_is_rolled_back_with_the_reasons(fast: None) -> None:
    offers = {
        "rejectSummaryLastOffers": [
            {"reason": "UnfulfilledConstraint", "declined": 9, "processed": 9}
        ]
    }
    waits = {"app": {"id": "/a"}, "count": 2, "processedOffersSummary": offers}
    undo = httpx.Response(200, json={"deploymentId": "d2", "version": "v2"})
    marathon = scaling(
        ("deployment_success", {"id": "d2"}),
        **{
            "GET /v2/queue": [httpx.Response(200, json={"queue": [waits]})],
            "DELETE /v2/deployments/d1": [undo],
        },
    )
    with pytest.raises(DeploymentTimeoutError) as caught:
        await run_deploy(marathon, timeout_s=0.1)
    assert caught.value.rolled_back
    assert "/a waits for 2: UnfulfilledConstraint 9 of 9" in str(caught.value)
    assert marathon.writes == ["PUT /v2/apps/a", "DELETE /v2/deployments/d1"]


async def test_a_roll_back_that_is_refused_is_said(fast: None) -> None:
    marathon = scaling(
        **{
            "GET /v2/queue": [httpx.Response(200, json={"queue": []})],
            "DELETE /v2/deployments/d1": [httpx.Response(409, json={"message": "locked"})],
        }
    )
    with pytest.raises(DeploymentTimeoutError, match="has not ended either") as caught:
        await run_deploy(marathon, timeout_s=0.05)
    assert not caught.value.rolled_back


async def test_a_locked_app_leaves_no_watch_behind() -> None:
    locked = httpx.Response(409, json={"message": "App is locked", "deployments": [{"id": "d0"}]})
    marathon = scaling(**{"PUT /v2/apps/a": [locked]})
    before = len(asyncio.all_tasks())
    with pytest.raises(LockedError):
        await run_deploy(marathon)
    assert len(asyncio.all_tasks()) == before
