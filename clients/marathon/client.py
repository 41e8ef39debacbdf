"""The v2 API of Marathon, typed. One method a request.

What starts a deployment returns it and does not wait; clients.marathon.deployment does. Nothing is
ever forced: `force=true` abandons a running deployment half way.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from clients.access import Tls
from clients.closing import Closing
from clients.marathon import parse
from clients.marathon.definition import check_id
from clients.marathon.errors import NotFoundError
from clients.marathon.events import SILENCE_S, Event, read_events
from clients.marathon.model import App, Deployment, Group, Info, Queued, Started, Task
from clients.marathon.transport import Transport

Json = Mapping[str, Any]
_TIMEOUT_S = 10.0
# Naming one of them leaves out the others, so all that is wanted is named.
_ALL_OF_GROUP = [
    ("embed", f"group.{part}")
    for part in ("groups", "apps", "pods", "apps.counts", "apps.deployments")
]


class MarathonClient(Closing):
    """A client of one Marathon. `instances` are `host:port`, as they name each other.

    `timeout_s` bounds each request with all its attempts; `any_leader` talks to the instances as
    declared, wherever they hand requests on to (behind a load balancer); `transport` replaces the
    network in tests.

    Raises:
        AuthenticationError: the credential file, or one of TLS, cannot be used.
    """

    def __init__(  # noqa: PLR0913 - by keyword, each with a default
        self,
        instances: Sequence[str],
        credential_file: Path | None = None,
        *,
        timeout_s: float = _TIMEOUT_S,
        any_leader: bool = False,
        tls: Tls | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._transport = Transport(
            instances,
            credential_file=credential_file,
            timeout_s=timeout_s,
            any_leader=any_leader,
            tls=tls,
            transport=transport,
        )

    async def close(self) -> None:
        """Close connections."""
        await self._transport.close()

    async def _get(self, path: str, **params: str) -> Any:
        return await self._transport.request("GET", path, params=params)

    # Marathon itself

    async def info(self) -> Info:
        """What Marathon says of itself."""
        return parse.info(await self._get("/v2/info"))

    async def leader(self) -> str:
        """`host:port` of the leader.

        Raises:
            NoLeaderError: there is none.
            ForeignLeaderError: it is none of the declared instances.
        """
        return await self._transport.leader()

    async def abdicate(self) -> None:
        """Make the leader step down; its process ends and another instance leads."""
        await self._transport.request("DELETE", "/v2/leader")

    # Apps

    async def apps(self) -> tuple[App, ...]:
        """All apps."""
        return parse.apps(await self._get("/v2/apps", embed="apps.counts"))

    async def app(self, app_id: str) -> App | None:
        """An app; None when there is none."""
        try:
            return parse.app(await self._get(_path("/v2/apps", app_id)))
        except NotFoundError:
            return None

    async def create_app(self, definition: Json) -> Started:
        """Create an app.

        Raises:
            LockedError: an app or group of that id is being deployed.
            RequestRefusedError: there is one of that id, or the definition is not valid.
        """
        body = dict(definition)
        return parse.started(await self._transport.request("POST", "/v2/apps", body=body))

    async def update_app(self, app_id: str, fields: Json, *, replace: bool = False) -> Started:
        """Change fields of an app, or replace all of it, so that what is not named is reset.

        Raises:
            LockedError: the app is being deployed.
            InvalidError: it would not be valid.
        """
        params = {"partialUpdate": "false"} if replace else {}
        path = _path("/v2/apps", app_id)
        answer = await self._transport.request("PUT", path, params=params, body=dict(fields))
        return parse.started(answer)

    async def scale_app(self, app_id: str, instances: int) -> Started:
        """Change how many instances an app has.

        Raises:
            LockedError: the app is being deployed.
        """
        return await self.update_app(app_id, {"instances": instances})

    async def restart_app(self, app_id: str) -> Started:
        """Replace all instances of an app, as its upgrade strategy says."""
        path = _path("/v2/apps", app_id) + "/restart"
        return parse.started(await self._transport.request("POST", path))

    async def delete_app(self, app_id: str) -> Started | None:
        """Remove an app; None when there was none.

        Raises:
            LockedError: the app is being deployed.
        """
        try:
            answer = await self._transport.request("DELETE", _path("/v2/apps", app_id))
        except NotFoundError:
            return None
        return parse.started(answer)

    # Groups

    async def group(self, group_id: str = "/") -> Group | None:
        """A group with all that is in it; None when there is none."""
        try:
            path = _path("/v2/groups", group_id)
            return parse.group(await self._transport.request("GET", path, params=_ALL_OF_GROUP))
        except NotFoundError:
            return None

    async def put_group(self, group_id: str, definition: Json) -> Started:
        """Create a group or replace it: apps and groups in it that are not named are removed.

        Raises:
            LockedError: something in it is being deployed.
            InvalidError: the definition is not valid.
        """
        path = _path("/v2/groups", group_id)
        answer = await self._transport.request("PUT", path, body=dict(definition))
        return parse.started(answer)

    async def delete_group(self, group_id: str) -> Started | None:
        """Remove a group and all that is in it; None when there was none."""
        try:
            answer = await self._transport.request("DELETE", _path("/v2/groups", group_id))
        except NotFoundError:
            return None
        return parse.started(answer)

    # Deployments and the queue

    async def deployments(self) -> tuple[Deployment, ...]:
        """Deployments that run."""
        return parse.deployments(await self._get("/v2/deployments"))

    async def roll_back(self, deployment_id: str) -> Started | None:
        """Undo a deployment that runs by another one; None when it had ended."""
        path = f"/v2/deployments/{quote(deployment_id, safe='')}"
        try:
            return parse.started(await self._transport.request("DELETE", path))
        except NotFoundError:
            return None

    async def queue(self) -> tuple[Queued, ...]:
        """What waits for offers, with the reasons why the last ones did not fit."""
        return parse.queue(await self._get("/v2/queue", embed="lastUnusedOffers"))

    async def reset_delay(self, app_id: str) -> None:
        """Launch again at once, however often an app's tasks have failed."""
        await self._transport.request("DELETE", _path("/v2/queue", app_id) + "/delay")

    # Tasks

    async def tasks(self) -> tuple[Task, ...]:
        """All tasks of apps."""
        return parse.tasks(await self._get("/v2/tasks"))

    async def app_tasks(self, app_id: str) -> tuple[Task, ...]:
        """Tasks of one app."""
        return parse.tasks(await self._get(_path("/v2/apps", app_id) + "/tasks"))

    async def kill_tasks(self, task_ids: Iterable[str], *, scale: bool = False) -> Started | None:
        """End tasks; with `scale` their apps get so many instances fewer, by a deployment.

        Without it they are replaced, and None is returned.
        """
        ids = list(task_ids)
        answer = await self._transport.request(
            "POST",
            "/v2/tasks/delete",
            params={"scale": "true"} if scale else {},
            body={"ids": ids},
        )
        return parse.started(answer) if scale else None

    # Events

    async def events(
        self, kinds: Sequence[str] = (), *, silence_s: float = SILENCE_S
    ) -> AsyncGenerator[Event]:
        """Events of these kinds, or all; the first one is `Attached`; ends with an error.

        Raises:
            StreamEndedError: the stream ended, or nothing came for `silence_s`: subscribe again.
            ProtocolError: what came is no event stream.
        """
        params = [("event_type", kind) for kind in kinds]
        async with self._transport.stream("/v2/events", params) as response:
            async for one in read_events(response, silence_s):
                yield one


def _path(prefix: str, path: str) -> str:
    return prefix + quote(check_id(path)).rstrip("/")
