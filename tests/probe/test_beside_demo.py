"""The probe as a process of its own beside a live cluster that migrates: its report against what is
declared, what supervisord and the cluster say themselves, and what the kernel holds.

Of connections: each that lasts must be told with both of its ends, and none may be told that no
part of the cluster has any business to make.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from components.targets import orphans
from probe.agent.errors import NotRunningError
from probe.agent.status import Status, ask
from stacks.demo import probe_settings
from tests.probe import kernel_truth
from tests.probe.kernel_truth import Edge, Truth
from tests.probe.receiver import Receiver, receiving
from tests.robustness import rig as rigs
from tests.robustness.rig import CHECKOUT, Rig
from tests.waiting import until

pytestmark = [pytest.mark.robustness, pytest.mark.turns, pytest.mark.timeout(1800)]

BOUND_S = 60.0
COLORS = ("blue", "green")
# Whose looks tell of connections: sockets, and the processes that own them.
LOOKED = ("process", "connections")
_COLORED = re.compile(r"(blue|green)-(zookeeper|masters|agents)-\d+")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rigs.running(tmp_path, calm=True) as running:
        yield running


@dataclass(frozen=True)
class _Looks:
    """How often each collector has looked, and the number of the last frame."""

    looks: Mapping[str, int]
    frame: int


@dataclass
class Beside:
    """The cluster, and the report of the probe beside it."""

    rig: Rig
    app: Receiver
    socket: str
    """Where the agent says what it does."""

    async def look_anew(self) -> None:
        """Wait until the app has been told what the probe saw in looks that began after now.

        A look that goes on already may have passed the place that matters, so it takes the one
        after it; and a frame that was made before that one ended says nothing of it.
        """
        before = await self._looks()
        wanted = {name: before.looks[name] + 2 for name in LOOKED}

        async def have_ended() -> _Looks | None:
            now = await self._looks()
            return now if all(now.looks[n] >= count for n, count in wanted.items()) else None

        ended = await until(have_ended, f"two more looks of {', '.join(LOOKED)}", BOUND_S)

        def is_told() -> bool:
            return any((one.seq or 0) > ended.frame for one in self.app.mirrors.values())

        await until(is_told, f"a frame after number {ended.frame}", BOUND_S)

    async def _looks(self) -> _Looks:
        async def answer() -> Status | None:
            with contextlib.suppress(NotRunningError):  # Too busy to answer in time.
                return await ask(self.socket)
            return None

        status = await until(answer, "the agent says what it does", BOUND_S)
        return _Looks({one.name: one.looks for one in status.collectors}, status.frame)

    def nodes(self, topology: str, **having: Any) -> dict[str, Mapping[str, Any]]:
        return {
            id_: node
            for id_, node in self.app.nodes(topology).items()
            if having.items() <= node.items()
        }

    def pid(self, node: Mapping[str, Any]) -> int | None:
        """Of the process that a node is tied to."""
        process = self.app.nodes("process").get(node.get("process", ""))
        return None if process is None else int(process["pid"])

    def declared(self) -> dict[str, int]:
        """Processes of programs, as supervisord has them."""
        supervisor = self.rig.supervisor
        return {name: supervisor.status(name).pid for name in supervisor.programs()}

    def outputs(self, tier: str, color: str) -> list[str]:
        found: Any = self.rig.runner.outputs().get(f"{color}_{tier}") or []
        return found.split(",") if isinstance(found, str) else list(found)


@contextlib.asynccontextmanager
async def probing(rig: Rig, folder: Path) -> AsyncGenerator[Beside]:
    """The agent, as it is in service."""
    async with receiving() as app:
        settings = probe_settings.of(rig.project_dir)
        settings |= {"apps": [app.url], "status_socket": str(folder / "agent.sock")}
        file = folder / "probe.json"
        file.write_text(json.dumps(settings))
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        with (folder / "probe.log").open("wb") as log:
            agent = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "probe.cli", "agent", "run", "--settings", str(file)),
                cwd=CHECKOUT,
                stdin=asyncio.subprocess.DEVNULL,
                stderr=log,
                env=environment,
            )
        try:
            yield Beside(rig, app, settings["status_socket"])
        finally:
            agent.terminate()
            await agent.wait()


async def settled(what: str, differences: Any) -> None:
    """Wait until there are none; says the last ones otherwise."""
    seen: list[str] = []

    async def is_settled() -> bool:
        seen[:] = await asyncio.to_thread(differences)
        return not seen

    try:
        await until(is_settled, what, BOUND_S)
    except AssertionError:
        pytest.fail("\n".join((f"{what}: not within {BOUND_S:g} s", *seen)))


def leader_of(addresses: list[str]) -> str | None:
    """Whom a master names itself."""
    for address in addresses:
        with contextlib.suppress(httpx.HTTPError, KeyError):
            return httpx.get(f"http://{address}/redirect").headers["location"].removeprefix("//")
    return None


def compare(told: object, known: object, what: str) -> list[str]:
    return [] if told == known else [f"{what}: told {told}, known {known}"]


def servers(beside: Beside) -> list[str]:
    """Differences of ensembles and their servers."""
    found: list[str] = []
    declared = beside.declared()
    for color in COLORS:
        leaders: list[str] = []
        members = beside.outputs("zookeeper", color)
        for index, address in enumerate(members):
            node = beside.nodes("zookeeper_server", cluster=color).get(address, {})
            answer = kernel_truth.four_letter_word(address, "srvr")
            mode = re.search(r"^Mode: (\w+)$", answer, re.MULTILINE)
            state = mode[1] if mode else None
            leaders += [address] if state == "leader" else []
            found += compare(node.get("state"), state, f"state of {address}")
            pid = declared[f"{color}-zookeeper-{index}"]
            found += compare(beside.pid(node), pid, f"pid of {color}-zookeeper-{index}")
        if members:
            ensemble = beside.nodes("zookeeper_ensemble").get(color, {})
            told = [ensemble.get("leader"), ensemble.get("serving"), ensemble.get("quorum")]
            found += compare(told, [*leaders, len(members), True], f"ensemble {color}")
    return found


def mesos(beside: Beside, leads: str) -> list[str]:
    """Differences of masters, agents, frameworks and roles; all agents follow one colour."""
    found: list[str] = []
    declared = beside.declared()
    leader = leader_of(beside.outputs("masters", leads))
    agents = {a: c for c in COLORS for a in beside.outputs("agents", c)}
    for color in COLORS:
        own = leader_of(beside.outputs("masters", color))
        for index, address in enumerate(beside.outputs("masters", color)):
            node = beside.nodes("mesos_master", cluster=color).get(address, {})
            told = (node.get("answers"), node.get("leading"))
            found += compare(told, (True, address == own), f"master {address}")
            pid = declared[f"{color}-masters-{index}"]
            found += compare(beside.pid(node), pid, f"pid of {color}-masters-{index}")
        for index, address in enumerate(beside.outputs("agents", color)):
            nodes = list(beside.nodes("mesos_agent", address=address).values())
            told = [(n.get("cluster"), n.get("master"), beside.pid(n)) for n in nodes]
            pid = declared[f"{color}-agents-{index}"]
            found += compare(told, [(color, leader, pid)], f"agent {address}")
    told = {n.get("address") for n in beside.nodes("mesos_agent").values()}
    found += compare(told, set(agents), "agents")
    frameworks = {
        str(beside.rig.framework()["framework_id"]): declared["frameworks-sample-0"],
        str(beside.rig.marathon("/v2/info")["frameworkId"]): declared["frameworks-marathon-0"],
    }
    told = {
        id_: (n.get("cluster"), n.get("master"), beside.pid(n))
        for id_, n in beside.nodes("mesos_framework").items()
    }
    known = {id_: (leads, leader, pid) for id_, pid in frameworks.items()}
    found += compare(told, known, "frameworks")
    roles = {r for n in beside.nodes("mesos_framework").values() for r in n.get("roles", ())}
    told = {n["name"] for n in beside.nodes("mesos_role", cluster=leads).values()}
    return found + compare(roles - told, set[str](), "roles")


def work(beside: Beside) -> list[str]:
    """Differences of tasks, apps, Marathon and the engine."""
    rig, declared = beside.rig, beside.declared()
    sample, apps = rig.pids(), rig.marathon("/v2/apps")["apps"]
    app_of = {str(t["id"]): str(t["appId"]) for t in rig.marathon("/v2/tasks")["tasks"]}
    agents = beside.nodes("mesos_agent")
    tasks = beside.nodes("mesos_task").values()
    found = compare({t["task_id"] for t in tasks}, set(sample) | set(app_of), "tasks")
    for task in tasks:
        name = str(task["task_id"])
        agent = agents.get(task["agent"], {})
        found += compare(task.get("cluster"), agent.get("cluster"), f"colour of {name}")
        found += compare(task.get("state"), "TASK_RUNNING", f"state of {name}")
        if name in sample:
            found += compare(beside.pid(task), sample[name], f"pid of {name}")
        app = beside.nodes("marathon_app").get(task.get("app", ""), {})
        found += compare(app.get("name"), app_of.get(name), f"app of {name}")
        found += [] if beside.pid(task) else [f"process of {name}: none is told"]
    told = {
        n["name"]: (n["instances"], n["running"], n["healthy"])
        for n in beside.nodes("marathon_app").values()
    }
    known = {a["id"]: (a["instances"], a["tasksRunning"], a["tasksHealthy"]) for a in apps}
    found += compare(told, known, "apps")
    told = {(n.get("leading"), beside.pid(n)) for n in beside.nodes("marathon").values()}
    found += compare(told, {(True, declared["frameworks-marathon-0"])}, "Marathon")
    engine = list(beside.nodes("sync_engine").values())
    told = [
        (n.get("state"), beside.pid(n), n.get("ensemble_a"), n.get("ensemble_b")) for n in engine
    ]
    known = [("live", declared.get("sync-engine-0"), "blue", "green")]
    return found + (compare(told, known, "engine") if "sync-engine-0" in declared else [])


def names(beside: Beside) -> dict[int, str]:
    """Every process of the cluster: its program, or `task`, by the marks that they carry."""
    found: dict[int, str] = dict.fromkeys(orphans.marked(beside.rig.supervisor.mark("")), "task")
    return found | {pid: name for name, pid in beside.declared().items()}


def lasting(before: Truth, now: Truth) -> set[Edge]:
    """Connections that were there at both looks."""
    return {edge for flow, edge in now.flows.items() if before.flows.get(flow) == edge}


def told_edges(beside: Beside, *, is_open: bool) -> set[Edge]:
    processes = beside.app.nodes("process")
    found: set[Edge] = set()
    for edge in beside.nodes("connection").values():
        client, server = (processes.get(edge.get(end, "")) for end in ("client", "server"))
        if client is not None and server is not None and (edge["open"] > 0 or not is_open):
            found.add(Edge(client["pid"], server["pid"], edge["server_port"]))
    return found


def is_allowed(client: str, server: str, leads: str) -> bool:
    """Whether a program has any business with another one, while one colour leads."""
    of, mine = _COLORED.fullmatch(server), _COLORED.fullmatch(client)
    if of is None:
        return (client, server) == ("frameworks-marathon-0", "task")
    color, tier = of.groups()
    if mine is None:
        tiers = {"sync-engine-0": ("zookeeper",), "clients-traffic-0": ("zookeeper",)}
        is_side = client == "sync-engine-0" or color == leads
        return is_side and tier in tiers.get(client, ("zookeeper", "masters"))
    if tier == "masters" and mine[2] == "agents":
        return color == leads
    is_own = mine[1] == color
    return is_own and (tier == "zookeeper" or (tier == "masters" and mine[2] == "masters"))


def unconnected(who: set[str], told: set[tuple[str, str]], leads: str) -> list[str]:
    """Programs of which no connection is told that all of their kind have."""
    found: list[str] = []
    # Two servers of an ensemble have a connection, whichever of them made it.
    either_way = told | {(server, client) for client, server in told}
    for name in sorted(who - {"task"}):
        of = _COLORED.fullmatch(name)
        if of is None:
            sides = COLORS if name == "sync-engine-0" else (leads,)
            tier = "masters" if name.startswith("frameworks-") else "zookeeper"
        else:
            sides = (leads,) if of[2] == "agents" else (of[1],)
            tier = "masters" if of[2] == "agents" else "zookeeper"
        others = {other for one, other in either_way if one == name}
        found += [
            f"none of {name} with {side}-{tier}"
            for side in sides
            if not any(other.startswith(f"{side}-{tier}-") for other in others)
        ]
    return found


def false_edges(
    beside: Beside, truth: Truth, leads: tuple[str, ...], *, is_open: bool
) -> list[str]:
    """Edges between parts of the cluster that cannot be."""
    who = names(beside)
    return [
        f"{who[edge.client]} → {who[edge.server]}:{edge.port}"
        for edge in told_edges(beside, is_open=is_open)
        if edge.client in who and edge.server in who
        if (edge.server, edge.port) not in truth.listeners
        or not any(is_allowed(who[edge.client], who[edge.server], color) for color in leads)
    ]


async def check(beside: Beside, leads: str, so_far: tuple[str, ...]) -> None:
    """Compare everything; `so_far` are the colours that have led."""
    await settled("servers are told as they are", lambda: servers(beside))
    await settled("Mesos is told as it is", lambda: mesos(beside, leads))
    await settled("work is told as it is", lambda: work(beside))

    before = await asyncio.to_thread(kernel_truth.look)
    await beside.look_anew()

    def connections() -> list[str]:
        now = kernel_truth.look()
        who = names(beside)
        told = told_edges(beside, is_open=True)
        known = {e for e in lasting(before, now) if e.client in who and e.server in who}
        missing = [f"missing {who[e.client]} → {who[e.server]}:{e.port}" for e in known - told]
        pairs = {(who[e.client], who[e.server]) for e in known & told}
        missing += unconnected(set(who.values()), pairs, leads)
        return missing + false_edges(beside, now, (leads,), is_open=True)

    await settled("connections are told as they are", connections)
    truth = await asyncio.to_thread(kernel_truth.look)
    assert false_edges(beside, truth, so_far, is_open=False) == []


async def test_the_report_is_exact_before_between_and_after(rig: Rig, tmp_path: Path) -> None:
    async with probing(rig, tmp_path) as beside:
        await check(beside, "blue", ("blue",))
        for phase, leads, so_far in ((2, "blue", ("blue",)), (4, "green", COLORS)):
            ended = await asyncio.to_thread(rig.migrate, "start", "--to", str(phase))
            assert ended.returncode == 0, ended.stdout + ended.stderr

            await check(beside, leads, so_far)
