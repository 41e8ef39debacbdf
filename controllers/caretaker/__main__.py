"""Run a caretaker: `python -m controllers.caretaker --config FILE`.

SIGTERM and SIGINT end it after the call that is on its way. It keeps nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from clients.errors import ClientError
from clients.kubernetes import KubernetesClient, KubernetesError, in_cluster
from clients.mesos import OperatorClient
from clients.mesos.model import Agent
from controllers.caretaker.cluster import WorkloadClient
from controllers.caretaker.driver import Caretaker, Masters
from controllers.caretaker.settings import CaretakerSettings, Order
from controllers.errors import SettingsError


class _Masters:
    """The masters, as a caretaker asks them."""

    def __init__(self, client: OperatorClient) -> None:
        self._client = client
        self.leader = client.leader
        self.reactivate_agent = client.reactivate_agent

    async def registered(self) -> Sequence[Agent]:
        return (await self._client.agents()).registered

    async def drain_agent(self, agent_id: str) -> None:
        await self._client.drain_agent(agent_id)


async def serve(settings: CaretakerSettings, stop: asyncio.Event) -> None:
    """Go round until `stop`.

    Raises:
        KubernetesError: this is no pod that may use the API.
        ClientError: the file of the credential cannot be used.
    """
    async with AsyncExitStack() as opened:
        kubernetes = await opened.enter_async_context(KubernetesClient(in_cluster()))
        masters: Masters | None = None
        if settings.order is not Order.NONE:
            client = OperatorClient(settings.masters, settings.credential_file)
            masters = _Masters(await opened.enter_async_context(client))
        caretaker = Caretaker(settings, WorkloadClient(kubernetes, settings), masters)
        while not stop.is_set():
            await caretaker.round()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settings.interval_s):
                    await stop.wait()


async def _run(settings: CaretakerSettings) -> None:
    stop = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, stop.set)
    await serve(settings, stop)


def main() -> int:
    """Start from the command line."""
    parser = argparse.ArgumentParser(prog="controllers.caretaker", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="a JSON file")
    path: Path = parser.parse_args().config
    try:
        asyncio.run(_run(CaretakerSettings.read(path)))
    except (SettingsError, KubernetesError, ClientError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
