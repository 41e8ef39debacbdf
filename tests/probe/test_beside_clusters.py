"""The probe beside two clusters, blue and green: everything is named, and by its right name."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from probe.agent.agent import Agent
from probe.agent.log import Log
from probe.agent.settings import Settings
from tests.probe.cluster import Cluster, running
from tests.probe.receiver import Receiver, receiving
from tests.sync_engine.servers import Server, start_all
from tests.waiting import until

TASKS = 2
BOUND_S = 90.0


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Cluster]]:
    folder = tmp_path_factory.mktemp("clusters")
    servers = [Server(folder / f"zookeeper-{color}") for color in ("blue", "green")]
    with (
        start_all(*servers),
        running(folder, servers[0], "blue", tasks=TASKS) as blue,
        running(folder, servers[1], "green", tasks=TASKS) as green,
    ):
        yield [blue, green]


@contextlib.asynccontextmanager
async def probing(clusters: list[Cluster], folder: Path, **more: Any) -> AsyncGenerator[Receiver]:
    """An agent that looks at this machine and these clusters, and the app that it tells."""
    async with receiving() as app:
        settings = msgspec.convert(
            {
                "apps": [app.url],
                "host": "node",
                "collectors": ["host", "process", "mesos_container", "connections", "mesos"],
                "publish_interval_s": 0.5,
                # The process that it measures is that of the tests: no budget of a probe's.
                "cpu_percent_max": 1000.0,
                "rss_mb_max": 100_000.0,
                "status_socket": str(folder / "agent.sock"),
                "mesos": [cluster.settings() for cluster in clusters],
                **more,
            },
            Settings,
        )
        working = asyncio.create_task(Agent(settings, Log()).run())
        try:
            yield app
        finally:
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working


def of(app: Receiver, topology: str, color: str) -> dict[str, Any]:
    nodes = app.nodes(topology)
    return {id_: node for id_, node in nodes.items() if node.get("cluster") == color}


def is_complete(app: Receiver, color: str) -> bool:
    """Whether all that a colour has is there, with its process."""
    masters, agents, tasks, servers = (
        of(app, f"mesos_{kind}" if kind != "server" else "zookeeper_server", color).values()
        for kind in ("master", "agent", "task", "server")
    )
    running_tasks = [t for t in tasks if t.get("state") == "TASK_RUNNING" and has_process(app, t)]
    return (
        [bool(one.get("leading") and has_process(app, one)) for one in masters] == [True]
        and [has_process(app, one) for one in agents] == [True]
        and [has_process(app, one) for one in servers] == [True]
        and len(running_tasks) == TASKS
    )


def has_process(app: Receiver, node: Mapping[str, Any]) -> bool:
    """Whether it names a process, and this one was told of: collectors go at their own pace."""
    return node.get("process", "") in app.nodes("process")


def pid_of(app: Receiver, node: Mapping[str, Any]) -> int:
    return app.nodes("process")[node["process"]]["pid"]


def ancestors(app: Receiver, pid: int) -> set[int]:
    parents = {node["pid"]: node["ppid"] for node in app.nodes("process").values()}
    found = {pid}
    while (pid := parents.get(pid, 0)) and pid not in found:
        found.add(pid)
    return found


def talks(app: Receiver, clusters: list[Cluster]) -> set[tuple[str, str]]:
    """Who talks to whom, of the clusters' processes: `blue mesos_agent`."""
    names = {pid: f"{c.color} {name}" for c in clusters for name, pid in c.pids.items()}
    processes = app.nodes("process")
    found: set[tuple[str, str]] = set()
    for edge in app.nodes("connection").values():
        ends = [processes.get(edge.get(end, ""), {}).get("pid") for end in ("client", "server")]
        if all(pid in names for pid in ends):
            found.add((names[ends[0]], names[ends[1]]))
    return found


EXPECTED = {
    (f"{color} {client}", f"{color} {server}")
    for color in ("blue", "green")
    for client, server in (
        ("mesos_master", "zookeeper"),
        ("mesos_agent", "zookeeper"),
        ("mesos_agent", "mesos_master"),
        ("framework", "zookeeper"),
        ("framework", "mesos_master"),
    )
}


@pytest.mark.long
async def test_the_report_names_everything_of_both_colours(
    clusters: list[Cluster], tmp_path: Path
) -> None:
    async with probing(clusters, tmp_path) as app:
        for cluster in clusters:
            color = cluster.color
            await until(lambda c=color: is_complete(app, c), f"{color} is complete", BOUND_S)

            (master,) = of(app, "mesos_master", color).items()
            assert master[0] == cluster.master
            assert pid_of(app, master[1]) == cluster.pids["mesos_master"]
            (agent,) = of(app, "mesos_agent", color).items()
            assert agent[1]["master"] == cluster.master
            assert agent[1]["address"] == cluster.agent
            assert pid_of(app, agent[1]) == cluster.pids["mesos_agent"]
            (server,) = of(app, "zookeeper_server", color).items()
            assert server[1]["state"] == "standalone"
            assert server[1]["version"].startswith("3.")
            assert pid_of(app, server[1]) == cluster.pids["zookeeper"]
            (framework,) = of(app, "mesos_framework", color)
            for task in of(app, "mesos_task", color).values():
                assert task["agent"] == agent[0]
                assert task["framework"] == framework
                assert cluster.pids["mesos_agent"] in ancestors(app, pid_of(app, task))


@pytest.mark.long
async def test_every_connection_between_them_is_found_and_none_crosses_colours(
    clusters: list[Cluster], tmp_path: Path
) -> None:
    async with probing(clusters, tmp_path) as app:
        await until(lambda: talks(app, clusters) >= EXPECTED, "all connections are found", BOUND_S)

        crossing = {
            (client, server)
            for client, server in talks(app, clusters)
            if client.split()[0] != server.split()[0]
        }
        assert crossing == set()


@pytest.mark.long
async def test_a_cluster_that_does_not_answer_is_missed_and_the_other_is_told_of(
    clusters: list[Cluster], tmp_path: Path
) -> None:
    away = Cluster("grey", tmp_path, clusters[0].zookeeper, master="127.0.0.1:1")
    async with probing([clusters[0], away], tmp_path) as app:
        await until(lambda: is_complete(app, "blue"), "blue is complete", BOUND_S)

        def is_missed() -> bool:
            collector = app.nodes("collector")["node;mesos"]
            told = [miss for miss in collector["misses"] if "masters of grey" in miss]
            return collector["state"] == "partial" and bool(told)

        await until(is_missed, "grey is missed", BOUND_S)
        assert of(app, "mesos_master", "grey")["127.0.0.1:1"]["leading"] is False


@pytest.fixture(scope="module")
def grouped(clusters: list[Cluster]) -> None:
    """Tasks in control groups, which not every machine permits."""
    reason = "expected to make control groups: run as root, on a host that lets them be made"
    text = clusters[0].logs()
    if os.geteuid() != 0 or "cgroups.not_permitted" in text:
        pytest.skip(reason)


def containers(app: Receiver, *clusters: Cluster) -> dict[str, Any]:
    """Those of these clusters' agents: other tests may have some on this machine, too."""
    agents = {cluster.pids["mesos_agent"] for cluster in clusters}
    return {
        id_: node
        for id_, node in app.nodes("container").items()
        if node.get("runtime") == "mesos" and agents & ancestors(app, node["pid"])
    }


@pytest.mark.long
@pytest.mark.usefixtures("grouped")
async def test_containers_are_named_by_their_tasks_and_grouped_as_these_are(
    clusters: list[Cluster], tmp_path: Path
) -> None:
    async with probing(clusters, tmp_path) as app:

        def are_named() -> bool:
            found = containers(app, *clusters).values()
            tasks = app.nodes("mesos_task")
            return len(found) == 2 * TASKS and all(
                "role" in node and has_process(app, tasks.get(node["task"], {})) for node in found
            )

        await until(are_named, "containers are named", BOUND_S)
        for id_, node in containers(app, *clusters).items():
            task = app.nodes("mesos_task")[node["task"]]
            assert task["container"] == id_
            assert node["name"] == task["name"]
            assert node["framework"] == task["framework"]
            assert node["role"] == task["role"] == "*"
            # The executor stays outside of it; the task's own process is within.
            members = [one for one in app.nodes("process").values() if one["pid"] == node["pid"]]
            assert [pid_of(app, task) in ancestors(app, one["pid"]) for one in members] == [True]


@pytest.mark.usefixtures("grouped")
async def test_an_agent_names_its_containers_where_masters_are_not_asked(
    clusters: list[Cluster], tmp_path: Path
) -> None:
    blue, green = clusters
    agents = [{"url": f"http://{blue.agent}"}]
    async with probing([], tmp_path, mesos_agents=agents) as app:

        def are_named() -> bool:
            own, others = (containers(app, one).values() for one in (blue, green))
            return ["task" in node for node in own] == [True] * TASKS and len(others) == TASKS

        await until(are_named, "containers are named, the others are seen", BOUND_S)
        for node in containers(app, blue).values():
            framework, _, task = node["task"].partition(";")
            assert (node["framework"], node["name"]) == (framework, task)
        assert ["task" in node for node in containers(app, green).values()] == [False] * TASKS
