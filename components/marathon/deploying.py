"""Calls of Marathon that apps and groups share: each starts a deployment and waits for its end.

A deployment that does not end in time is rolled back. One that runs already, of an update that was
interrupted or of somebody else, is waited for and never forced.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clients.marathon import DeploymentFailedError

if TYPE_CHECKING:
    from clients.marathon import MarathonClient

Json = Mapping[str, Any]
TIMEOUT_S = 600.0
_POLL_S = 1.0


@dataclass(frozen=True)
class CreateApp:
    """Create an app."""

    definition: Json


@dataclass(frozen=True)
class ChangeApp:
    """Set fields of an app, and leave the others."""

    app_id: str
    fields: Json


@dataclass(frozen=True)
class ReplaceApp:
    """Set all of an app; what is not named is reset to Marathon's default."""

    app_id: str
    definition: Json


@dataclass(frozen=True)
class DeleteApp:
    """Remove an app and its tasks."""

    app_id: str


@dataclass(frozen=True)
class PutGroup:
    """Create a group, or replace all that is in it."""

    group_id: str
    definition: Json


@dataclass(frozen=True)
class DeleteGroup:
    """Remove a group and all that is in it."""

    group_id: str


@dataclass(frozen=True)
class AwaitDeployments:
    """Wait for deployments that run already."""

    deployments: tuple[str, ...]


Call = CreateApp | ChangeApp | ReplaceApp | DeleteApp | PutGroup | DeleteGroup | AwaitDeployments


async def perform(
    client: MarathonClient,
    call: Call,
    *,
    timeout_s: float,
    holds: Callable[[], Awaitable[bool]],
) -> None:
    """Make a call and wait for its deployment; `holds` as in `deploy`."""
    from clients.marathon.deployment import deploy  # noqa: PLC0415 - no preview needs httpx

    match call:
        case CreateApp(definition):
            what, start = str(definition["id"]), lambda: client.create_app(definition)
        case ChangeApp(app_id, fields):
            what, start = app_id, lambda: client.update_app(app_id, fields)
        case ReplaceApp(app_id, definition):
            what, start = app_id, lambda: client.update_app(app_id, definition, replace=True)
        case DeleteApp(app_id):
            what, start = f"{app_id}'s removal", lambda: client.delete_app(app_id)
        case PutGroup(group_id, definition):
            what, start = group_id, lambda: client.put_group(group_id, definition)
        case DeleteGroup(group_id):
            what, start = f"{group_id}'s removal", lambda: client.delete_group(group_id)
        case AwaitDeployments(deployments):
            await _await_all(client, deployments, timeout_s)
            return
    await deploy(client, what, start, timeout_s=timeout_s, holds=holds)


async def _await_all(client: MarathonClient, ids: tuple[str, ...], timeout_s: float) -> None:
    from clients.marathon.deployment import (  # noqa: PLC0415 - no preview needs httpx
        why_not_placed,
    )

    deadline = time.monotonic() + timeout_s
    while True:
        running = {one.id for one in await client.deployments()} & set(ids)
        if not running:
            return
        if time.monotonic() >= deadline:
            break
        await asyncio.sleep(_POLL_S)
    msg = (
        f"expected deployments {', '.join(sorted(running))}, which were running already, to end "
        f"within {timeout_s:g} s, saw them go on: roll them back with DELETE /v2/deployments/<id>, "
        f"or wait longer. {await why_not_placed(client)}"
    )
    raise DeploymentFailedError(msg)
