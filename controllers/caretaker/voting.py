"""Looks at an ensemble's servers, decides who joins or leaves, and makes that one change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from clients.zookeeper import EnsembleClient
from controllers.caretaker import membership
from controllers.caretaker.membership import Configuration, Join, Leave, Mode, Server
from controllers.caretaker.rolling import Done
from controllers.caretaker.settings import EnsembleSettings


class Voting:
    """Of one ensemble, through a client of it."""

    def __init__(self, settings: EnsembleSettings, client: EnsembleClient) -> None:
        self._members = {one.id: one for one in settings.servers}
        self._wanted = settings.wanted
        self._client = client

    async def step(self) -> membership.Step:
        """Take one step; returns it.

        Raises:
            ZooKeeperError: who votes is not known, or was not changed.
            AccessError: the super user's secret cannot be used.
        """
        found = await self._client.ensemble()
        configuration = Configuration(found.version, found.voters)
        if configuration.voters == self._wanted:
            return Done()
        # Asked one after the other: who has by then what the leader had before has caught up.
        before = await self._ask(configuration.voters & self._members.keys())
        written = max(
            (server.zxid for server in before.values() if server.mode is Mode.LEADER), default=0
        )
        step = membership.next_step(
            configuration,
            await self._ask(self._members),
            wanted=self._wanted,
            written=written,
        )
        match step:
            case Join(number, version):
                await self._client.join(number, self._members[number].description, version)
            case Leave(number, version):
                await self._client.leave(number, version)
            case _:
                pass
        return step

    async def _ask(self, numbers: Iterable[int]) -> dict[int, Server]:
        """What servers say; of those that answer as one of an ensemble."""
        asked = sorted(numbers)
        said = await asyncio.gather(
            *(self._client.ask(self._members[number].address) for number in asked)
        )
        return {
            number: Server(Mode(answer.mode), answer.zxid)
            for number, answer in zip(asked, said, strict=True)
            if answer is not None and answer.mode in set(Mode)
        }
