"""Asks all masters, all agents that the leader knows, and Marathon's instances for what they count.

Every master is asked, because followers have metrics of their own (whether their replica of the
registry serves). Who does not answer in time is told as down, and costs the others nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from clients.access import Tls, scheme
from clients.http import http_client
from clients.mesos import parse
from clients.mesos.errors import MesosError
from clients.mesos.operator import OperatorClient
from controllers.exporter.render import Target

SNAPSHOT = "/metrics/snapshot"
OF_MARATHON = "/metrics"
_AT_ONCE = 64


class Gatherer:
    """Asks one cluster. `timeout_s` bounds each answer; without `with_agents` no agents.

    Raises:
        AuthenticationError: a file of the credential or of TLS cannot be used.
        AccessError: the same.
    """

    def __init__(  # noqa: PLR0913 - by keyword, one a key of the settings
        self,
        masters: Sequence[str],
        credential_file: Path | None,
        *,
        timeout_s: float,
        with_agents: bool,
        marathon: Sequence[str] = (),
        tls: Tls | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._masters, self._marathon = tuple(masters), tuple(marathon)
        self._with_agents = with_agents
        self._scheme = scheme(tls)
        # Behind a projection the leader is another cluster's, which knows these agents too.
        self._operator = (
            OperatorClient(
                masters,
                credential_file,
                timeout_s=timeout_s,
                follow_projection=True,
                tls=tls,
                transport=transport,
            )
            if masters
            else None
        )
        self._client = http_client(credential_file, tls, timeout_s=timeout_s, transport=transport)
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def close(self) -> None:
        """Close connections."""
        if self._operator is not None:
            await self._operator.close()
        await self._client.aclose()

    async def look(self) -> tuple[list[Target], list[Target]]:
        """Masters and agents, each with what it told."""
        masters, known = await asyncio.gather(
            asyncio.gather(*(self._ask("master", address) for address in self._masters)),
            self._known(),
        )
        agents = await asyncio.gather(*(self._ask("agent", address) for address in known))
        return list(masters), list(agents)

    async def look_at_marathon(self) -> list[Target]:
        """Instances of Marathon, each with what it told."""
        return list(
            await asyncio.gather(*(self._ask("marathon", address) for address in self._marathon))
        )

    async def _known(self) -> list[str]:
        if not self._with_agents or self._operator is None:
            return []
        try:
            agents = await self._operator.agents()
        except MesosError:
            # Masters tell by themselves that none of them leads.
            return []
        return sorted(agent.address for agent in agents.registered)

    async def _ask(self, kind: str, address: str) -> Target:
        path, read = (OF_MARATHON, _gauges) if kind == "marathon" else (SNAPSHOT, parse.metrics)
        try:
            async with self._turn:
                answer = await self._client.get(f"{self._scheme}://{address}{path}")
            snapshot = read(answer.json()) if answer.is_success else None
        except (httpx.HTTPError, ValueError, MesosError):
            snapshot = None
        return Target(kind, address, snapshot)


def _gauges(body: Any) -> dict[str, float]:
    """What a page of Marathon's registry says of gauges; what else it has is no metric here.

    Raises:
        ValueError: it is no such page.
    """
    try:
        return {str(name): float(one["value"]) for name, one in body["gauges"].items()}
    except (AttributeError, KeyError, TypeError) as error:
        msg = f"expected gauges of Marathon, saw another page ({type(error).__name__})"
        raise ValueError(msg) from None
