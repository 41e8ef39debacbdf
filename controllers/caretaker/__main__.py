"""Run a caretaker: `python -m controllers.caretaker --config FILE`.

SIGTERM and SIGINT end it after the call that is on its way. It keeps nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from clients.kubernetes import KubernetesClient, KubernetesError, in_cluster
from clients.mesos import MesosError, OperatorClient
from clients.zookeeper import EnsembleClient
from controllers.caretaker.cluster import WorkloadClient
from controllers.caretaker.driver import Caretaker
from controllers.caretaker.settings import CaretakerSettings, Order
from controllers.caretaker.voting import Voting
from controllers.process import run, until_told


async def serve(path: Path, stop: asyncio.Event) -> None:
    """Go round until `stop`.

    Raises:
        SettingsError: the settings cannot be used.
        KubernetesError: this is no pod that may use the API, and it has to.
        MesosError: the file of the credential cannot be used.
    """
    settings = CaretakerSettings.read(path)
    async with AsyncExitStack() as opened:
        workload: WorkloadClient | None = None
        if settings.order is not Order.NONE or settings.copies is not None:
            kubernetes = await opened.enter_async_context(KubernetesClient(in_cluster()))
            workload = WorkloadClient(kubernetes, settings)
        masters: OperatorClient | None = None
        if settings.order is not Order.NONE:
            client = OperatorClient(settings.masters, settings.credential_file)
            masters = await opened.enter_async_context(client)
        voting: Voting | None = None
        if (ensemble := settings.ensemble) is not None:
            # A session is had from those that vote, now and afterwards.
            hosts = [one.address for one in ensemble.servers if one.id in ensemble.wanted]
            servers = EnsembleClient(hosts, ensemble.credential_file, timeout_s=ensemble.timeout_s)
            voting = Voting(ensemble, await opened.enter_async_context(servers))
        caretaker = Caretaker(settings, workload, masters, voting=voting)
        while not stop.is_set():
            await caretaker.round()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settings.interval_s):
                    await stop.wait()


def main() -> int:
    """Start from the command line."""
    return run("caretaker", __doc__, until_told(serve), KubernetesError, MesosError)


if __name__ == "__main__":
    sys.exit(main())
