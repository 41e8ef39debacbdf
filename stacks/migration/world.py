"""What a step may talk to: the stack's runner, the engine, both sides' masters, and clients.

Addresses come from the outputs of the stack's last update, so a `World` is made anew for each step.
Clients are made when they are first asked for, and closed with the world.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, cast

import httpx

from clients.closing import Closing
from clients.http import read_credential
from clients.kubernetes import KubernetesClient, in_cluster
from clients.marathon import MarathonClient
from clients.mesos.errors import AuthenticationError, ForeignLeaderError
from clients.mesos.operator import OperatorClient
from components.base import workload_name
from components.mesos.access import MARATHON_SECRET, SAMPLE_SECRET
from components.targets.supervisor import Supervisor
from components.workload import Secret
from stacks import agents
from stacks.agents import ListedAgents, OwnAgents
from stacks.automation import StackRunner
from stacks.migration.bounds import Bounds
from stacks.migration.errors import ActFailedError
from stacks.migration.hosts import MastersHost
from stacks.migration.hosts.kubernetes import DeclaredSet, KubernetesMasters
from stacks.migration.hosts.local import LocalMasters
from stacks.topology import Color, Standing, Tier
from sync_engine.client import EngineClient, EnsembleAddress

_HTTP_TIMEOUT_S = 10.0
_UNAUTHORIZED = 401


class World(Closing):
    """Everything around one step. An async context manager."""

    def __init__(
        self, runner: StackRunner, standing: Standing, folder: Path, bounds: Bounds
    ) -> None:
        self.runner = runner
        self.standing = standing
        self.folder = folder
        self.bounds = bounds
        self._outputs = runner.outputs()
        self._closing = AsyncExitStack()
        self._operators: dict[Color, OperatorClient] = {}
        self._engine: EngineClient | None = None
        self._marathon: MarathonClient | None = None
        self._kubernetes: KubernetesClient | None = None
        self._http: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """Close every client that was used."""
        await self._closing.aclose()

    @property
    def source(self) -> Color:
        """The colour that is left."""
        return self.standing.source

    @property
    def target(self) -> Color:
        """The colour that is reached."""
        return self.standing.target

    # Addresses

    def has_ensemble(self, color: Color) -> bool:
        """Whether a colour has a ZooKeeper ensemble now."""
        return f"{color}_zookeeper" in self._outputs

    def ensemble(self, color: Color) -> EnsembleAddress:
        """A colour's ensemble, with a credential that may read everything."""
        hosts = str(self._output(f"{color}_zookeeper"))
        return EnsembleAddress(hosts, self._secret(Secret.ZOOKEEPER_SUPER))

    def masters(self, color: Color) -> tuple[str, ...]:
        """`host:port` of a colour's masters; none while it has none."""
        return self._addresses(f"{color}_masters")

    def agents(self, color: Color) -> OwnAgents:
        """What tells a colour's agents from others; an empty list while it has none."""
        return agents.read(self._outputs.get(f"{color}_agents")) or ListedAgents()

    @property
    def has_marathon(self) -> bool:
        """Whether the stack declares a Marathon."""
        return bool(self._outputs.get("marathon"))

    async def app_consents(self) -> frozenset[str]:
        """Apps that may be moved although something speaks against it: the configuration's word."""
        config = await asyncio.to_thread(self.runner.get_config)
        return frozenset(config.app_consents)

    async def consents(self) -> frozenset[str]:
        """Frameworks whose tasks on an agent that goes may be killed: the configuration's word."""
        config = await asyncio.to_thread(self.runner.get_config)
        return frozenset(config.drain_consents)

    async def bootstrapped(self) -> frozenset[Color]:
        """Colours whose masters never begin with an empty log: the configuration's word."""
        config = await asyncio.to_thread(self.runner.get_config)
        return frozenset(config.cluster.masters.bootstrapped)

    def frameworks(self) -> dict[str, str]:
        """Address of the own interface of each framework that has the sample's."""
        return dict(self._outputs.get("frameworks") or {})

    def groups(self) -> dict[str, str]:
        """Address of each client group's own interface."""
        return dict(self._outputs.get("clients") or {})

    @property
    def has_engine(self) -> bool:
        """Whether the sync engine exists now."""
        return "engine" in self._outputs

    # Clients

    async def engine(self) -> EngineClient:
        """The sync engine's client."""
        if self._engine is None:
            where = cast("dict[str, Any]", self._output("engine"))
            client = EngineClient(str(where["url"]), Path(str(where["token_file"])))
            self._engine = await self._closing.enter_async_context(client)
        return self._engine

    async def operator(self, color: Color) -> OperatorClient:
        """Client of a colour's masters; refuses a leader of the other colour."""
        if color not in self._operators:
            client = OperatorClient(self.masters(color), self._secret(Secret.MESOS_OPERATOR))
            self._operators[color] = await self._closing.enter_async_context(client)
        return self._operators[color]

    async def marathon(self) -> MarathonClient:
        """Client of Marathon's instances; refuses a leader that is none of them."""
        if self._marathon is None:
            instances = self._addresses("marathon")
            client = MarathonClient(instances, self._secret(MARATHON_SECRET))
            self._marathon = await self._closing.enter_async_context(client)
        return self._marathon

    async def leading(self) -> Color:
        """The colour whose masters lead the agents that watch the source."""
        if not self.masters(self.source):
            return self.target
        try:
            await (await self.operator(self.source)).leader()
        except ForeignLeaderError:
            return self.target
        return self.source

    async def get(self, url: str) -> dict[str, Any]:
        """Read JSON of a framework or a client group."""
        response = await self._client().get(url)
        response.raise_for_status()
        return response.json()

    async def clock_offset_s(self, address: str) -> float | None:
        """How far a server's clock is ahead of ours, within a second; None if it tells no time."""
        asked = time.time()
        response = await self._client().get(f"http://{address}/health")
        middle = (asked + time.time()) / 2
        try:
            told = parsedate_to_datetime(response.headers["date"])
        except (KeyError, ValueError):
            return None
        # The header's second has begun; half of it has passed on average.
        return told.timestamp() + 0.5 - middle

    async def post(
        self, url: str, body: dict[str, Any] | None = None, *, timeout_s: float = _HTTP_TIMEOUT_S
    ) -> tuple[int, dict[str, Any]]:
        """Ask something of the sample framework, with its own credential; returns status and JSON,
        empty where it is none.

        Raises:
            AuthenticationError: the credential cannot be read, or is refused.
        """
        # Without a file, as on other targets, the request goes as it is.
        credential = read_credential(self._secret(SAMPLE_SECRET)) or httpx.Auth()
        response = await self._client().post(
            url, json=body or {}, timeout=timeout_s, auth=credential
        )
        if response.status_code == _UNAUTHORIZED:
            # Asking again would change nothing.
            msg = (
                f"expected {url} to take the credential {SAMPLE_SECRET}, saw 401. Give the "
                "framework that file of the stack"
            )
            raise AuthenticationError(msg)
        try:
            return response.status_code, response.json()
        except ValueError:
            return response.status_code, {"said": response.text}

    async def masters_host(self, color: Color) -> MastersHost:
        """What runs a colour's masters, where they are restarted.

        Raises:
            ActFailedError: the stack's state does not say.
            KubernetesError: this process has no identity of a pod's.
        """
        name = workload_name(Tier.MASTERS, color)
        run_dir = self._outputs.get("run_dir")
        if run_dir is not None:
            names = [f"{name}-{index}" for index in range(len(self.masters(color)))]
            return LocalMasters(Supervisor(Path(str(run_dir))), names)
        declared = DeclaredSet.of(await asyncio.to_thread(self.runner.deployment), name)
        config = await asyncio.to_thread(self.runner.get_config)
        assert config.kubernetes is not None
        if self._kubernetes is None:
            client = KubernetesClient(in_cluster())
            self._kubernetes = await self._closing.enter_async_context(client)
        ready_s = config.kubernetes.ready_timeout_s
        return KubernetesMasters(self._kubernetes, declared, ready_s=ready_s)

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=_HTTP_TIMEOUT_S)
            self._closing.push_async_callback(self._http.aclose)
        return self._http

    def _addresses(self, name: str) -> tuple[str, ...]:
        return tuple(str(one) for one in self._outputs.get(name) or ())

    def _output(self, name: str) -> object:
        if name not in self._outputs:
            msg = (
                f"expected the stack to export {name!r} at {self.standing.describe()}, it does "
                "not. Run `pulumi up`, then `migrate resume`"
            )
            raise ActFailedError(msg)
        return self._outputs[name]

    def _secret(self, secret: str) -> Path | None:
        run_dir, folder = (self._outputs.get(name) for name in ("run_dir", "secrets_dir"))
        if run_dir is not None:
            folder = Path(str(run_dir)) / "secrets"
        return None if folder is None else Path(str(folder)) / secret
