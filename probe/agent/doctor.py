"""What an agent can see on this machine, and what each missing capability would add.

Collectors are started as they are in service, look once, and say what they miss: the doctor has no
opinion of its own, so it cannot be wrong about them.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import msgspec

from probe.agent.agent import Agent
from probe.agent.files import read_or_empty
from probe.agent.log import Log
from probe.agent.settings import Settings
from probe.report.ledger import Ledger

# As linux/proc_ns.h numbers it (PROC_PID_INIT_INO).
_FIRST_PID_NAMESPACE = f"pid:[{0xEFFFFFFC}]"
# Bits of CapEff, as linux/capability.h numbers them.
_CAPABILITIES = {
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_NET_ADMIN": 12,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
}
_ADDS = {
    "CAP_DAC_READ_SEARCH": "files of processes of other users",
    "CAP_NET_ADMIN": "connection tracking: address translation, short connections, bytes",
    "CAP_SYS_PTRACE": "open files of other users' processes, and with them who owns a connection",
    "CAP_SYS_ADMIN": "nothing that an agent needs today",
}


class Finding(msgspec.Struct):
    """What a collector can do here."""

    collector: str
    state: str
    mode: str
    nodes: int
    misses: list[str]
    problem: str | None


class Granted(msgspec.Struct):
    """A capability of this process."""

    name: str
    held: bool
    adds: str


class Diagnosis(msgspec.Struct):
    """All of it."""

    user: int
    findings: list[Finding]
    capabilities: list[Granted]
    """Of them that add something to what is looked at: none where that is no node."""
    host_processes: bool | None
    """Whether processes are the host's, and not a container's; None: not to be told, or no process
    is looked at."""


# These ask over the network, and need nothing of the node that they run on.
_OF_CLUSTERS = frozenset(("mesos", "kubernetes", "names"))
_TABLES = {
    "host": ("host",),
    "process": ("process",),
    "connections": ("connection", "endpoint"),
    # Names stand at connections.
    "names": (),
    "plugins": ("plugin",),
    "mesos": (
        *("mesos_master", "mesos_agent", "mesos_task", "zookeeper_server", "marathon_app"),
        "sync_engine",
    ),
    "kubernetes": (
        *("kubernetes_namespace", "kubernetes_node", "kubernetes_workload", "kubernetes_pod"),
        *("kubernetes_service", "kubernetes_ingress", "kubernetes_gateway"),
        *("kubernetes_volume", "kubernetes_claim"),
    ),
}


async def diagnose(settings: Settings) -> Diagnosis:
    """Look once with everything."""
    agent = Agent(settings, Log(io.StringIO()))
    async with agent.once():
        findings = [
            Finding(
                collector=name,
                state=work.capability.state.value,
                mode=work.capability.mode,
                nodes=count(agent.ledger, name),
                misses=[str(miss) for miss in work.capability.misses],
                problem=work.problem,
            )
            for name, work in agent.runner.work.items()
        ]
    looks_at_node = not _OF_CLUSTERS.issuperset(settings.collectors)
    return Diagnosis(
        os.geteuid(),
        findings,
        capabilities() if looks_at_node else [],
        sees_host(settings.proc) if looks_at_node else None,
    )


def count(ledger: Ledger, collector: str) -> int:
    """How many nodes are a collector's own."""
    if collector in _TABLES:
        return sum(len(ledger[table]) for table in _TABLES[collector])
    # Those of several share one topology.
    runtimes = [str(container.get("runtime")) for _, container in ledger["container"]]
    others = {"container": "docker", "mesos_container": "mesos"}
    if collector in others:
        return runtimes.count(others[collector])
    return sum(runtime not in others.values() for runtime in runtimes)


def capabilities() -> list[Granted]:
    """Capabilities that matter to an agent."""
    held = 0
    for line in read_or_empty("/proc/self/status").splitlines():
        if line.startswith(b"CapEff:"):
            held = int(line.split()[1], 16)
    return [
        Granted(name, bool(held >> bit & 1), _ADDS[name]) for name, bit in _CAPABILITIES.items()
    ]


def sees_host(proc: str) -> bool | None:
    """In the first pid namespace the kernel's own threads are seen, unless others' are hidden."""
    if read_or_empty(f"{proc}/2/comm").strip() == b"kthreadd":
        return True
    try:
        return str(Path(proc, "self/ns/pid").readlink()) == _FIRST_PID_NAMESPACE
    except OSError:
        return None
