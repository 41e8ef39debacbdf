"""The cluster that is migrated: wait until it is healthy, give it something to lose, and look at it
again afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from clients.marathon import MarathonClient, MarathonError
from clients.mesos import MesosError, OperatorClient
from clients.mesos.model import Quota
from components.mesos.access import MARATHON_SECRET
from components.targets import orphans
from components.targets.supervisor import Supervisor
from components.workload import Secret
from stacks.cluster_spec import ClusterSpec
from stacks.config import StackConfig
from stacks.demo.addresses import Addresses
from stacks.demo.errors import NotHealthyError
from stacks.demo.observations import Registry, Writes
from stacks.local.process import read_secret
from stacks.local.writes import ledger
from stacks.local.writes.verify import verify
from stacks.topology import Color

Json = Mapping[str, Any]
_HEALTHY_TIMEOUT_S = 90.0
_PAUSE_S = 0.25
# The writers' own mix deletes some and creates others; most of what they work on must be there.
_RATE_SHARE_MIN = 0.75
# What the registry replay carries over: a role's quota, and weights of two roles.
QUOTA = Quota("batch", limits={"cpus": 4.0, "mem": 2048.0}, guarantees={"cpus": 1.0})
WEIGHTS = {"batch": 2.0, "interactive": 5.0}


def operator(addresses: Addresses, color: Color) -> OperatorClient:
    """A client of a colour's masters."""
    return OperatorClient(addresses.masters[color], addresses.secret(Secret.MESOS_OPERATOR))


def marathon(addresses: Addresses) -> MarathonClient:
    """A client of Marathon."""
    return MarathonClient(addresses.marathon, addresses.secret(MARATHON_SECRET))


async def await_healthy(
    addresses: Addresses, color: Color, config: StackConfig, tell: Callable[[str], None]
) -> None:
    """Wait until all of it runs: leader, agents, tasks with their processes, apps, and traffic.

    Raises:
        NotHealthyError: naming what is missing when the time is up.
    """
    deadline = time.monotonic() + _HEALTHY_TIMEOUT_S
    async with operator(addresses, color) as masters, httpx.AsyncClient(timeout=5) as http:
        while True:
            missing = await _missing(masters, http, addresses, config.cluster)
            missing = missing or await _missing_apps(addresses, config)
            if missing is None:
                return
            tell(f"waiting for {missing}")
            if time.monotonic() > deadline:
                msg = (
                    f"expected a healthy cluster within {_HEALTHY_TIMEOUT_S:.0f} s, still missing: "
                    f"{missing}. Look at the logs of its processes"
                )
                raise NotHealthyError(msg)
            await asyncio.sleep(_PAUSE_S)


async def _missing(
    masters: OperatorClient, http: httpx.AsyncClient, addresses: Addresses, sizes: ClusterSpec
) -> str | None:
    try:
        leader = await masters.leader()
        agents = (await masters.agents()).registered
        framework = (await http.get(f"{addresses.framework}/state")).json()
        groups = [(await http.get(f"{url}/status")).json() for url in addresses.clients.values()]
    except MesosError as error:
        return f"a leader ({error})"
    except (httpx.HTTPError, ValueError) as error:
        return f"the framework and the client groups to answer ({type(error).__name__})"
    if len(agents) < sizes.agents.total:
        return f"{sizes.agents.total} agents with {leader}, saw {len(agents)}"
    return _missing_work(framework, groups, sizes)


def _missing_work(framework: Json, groups: list[Json], sizes: ClusterSpec) -> str | None:
    with_process = [t for t in framework["tasks"] if t["healthy"] and t["pid"]]
    if len(with_process) < sizes.framework.tasks:
        return f"{sizes.framework.tasks} running tasks, saw {len(with_process)}"
    traffic = sizes.traffic
    for group in groups:
        if group["znodes"] < traffic.znodes:
            return f"{traffic.znodes} znodes of traffic, saw {group['znodes']}"
        if group["rate_per_s"] < traffic.rate_per_s * _RATE_SHARE_MIN:
            return f"{traffic.rate_per_s} writes/s, saw {group['rate_per_s']:.0f}"
    return None


async def _missing_apps(addresses: Addresses, config: StackConfig) -> str | None:
    if not config.apps:
        return None
    try:
        async with marathon(addresses) as client:
            apps = {app.id: app for app in await client.apps()}
    except MarathonError as error:
        return f"Marathon ({error})"
    for definition in config.apps:
        name, size = str(definition["id"]), int(definition.get("instances", 1))
        app = apps.get(name)
        healthy = 0 if app is None else app.healthy if app.has_health_checks else app.running
        if healthy < size:
            return f"{size} healthy instances of {name}, saw {healthy}"
    return None


async def read_app_failures(addresses: Addresses) -> dict[str, str] | None:
    """The last failure of each app that has one; None when Marathon does not answer."""
    if not addresses.marathon:
        return None
    try:
        async with marathon(addresses) as client:
            apps = [await client.app(one.id) for one in await client.apps()]
    except MarathonError:
        return None
    failures = {app.id: app.definition.get("lastTaskFailure") for app in apps if app is not None}
    return {
        name: f"{failure.get('state')} ({failure.get('message')})"
        for name, failure in failures.items()
        if failure
    }


async def set_registry(addresses: Addresses, color: Color) -> Registry:
    """Give the registry something that no agent brings along; returns what it holds then."""
    async with operator(addresses, color) as masters:
        await masters.update_quota([QUOTA])
        await masters.update_weights(WEIGHTS)
        return await _registry(masters)


async def read_registry(addresses: Addresses, color: Color) -> Registry | None:
    """What the registry of a colour holds; None when its masters do not answer."""
    if color not in addresses.masters:
        return None
    try:
        async with operator(addresses, color) as masters:
            return await _registry(masters)
    except MesosError:
        return None


async def _registry(masters: OperatorClient) -> Registry:
    quota = {
        one.role: {
            **{f"limit {name}": value for name, value in sorted(one.limits.items())},
            **{f"guarantee {name}": value for name, value in sorted(one.guarantees.items())},
        }
        for one in await masters.quota()
    }
    return Registry(quota, dict(sorted((await masters.weights()).items())))


def compare_writes(addresses: Addresses, group: str, color: Color) -> Writes:
    """Compare a client group's log with an ensemble, path by path. Its writers must stand still.

    Raises:
        StartError: the ensemble cannot be read.
    """
    log = addresses.log_of_clients(group)
    auth = read_secret(addresses.secret(Secret.ZOOKEEPER_SUPER))
    found = verify(log, addresses.zookeeper[color], auth, f"/apps/{group}")
    examples = [
        *found.missing,
        *found.different,
        *found.acl_different,
        *found.resurrected,
        *found.unexplained,
        *found.sequence_problems,
    ]
    return Writes(
        paths=found.paths,
        acknowledged=found.acknowledged,
        open=found.open,
        counts=dict(found.counts),
        examples=tuple(examples),
        pauses=tuple(ledger.pauses(ledger.read(log))),
    )


def processes_of_source(supervisor: Supervisor, source: Color) -> list[str]:
    """Programs of the source and of the sync engine that are declared, and processes of theirs that
    live, their children included."""
    heads = (f"{source}-", "sync-engine-")
    found = [name for name in supervisor.programs() if name.startswith(heads)]
    folders = sorted(path.name for path in supervisor.run_dir.iterdir() if path.is_dir())
    for name in folders:
        if name.startswith(heads):
            living = orphans.marked(supervisor.mark(name))
            found += [f"{name} (process {pid})" for pid in sorted(living)]
    return found
