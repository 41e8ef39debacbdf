"""What probes told an app of the real node, held to what the API server says of the same pods."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

from components.monitoring.probe_pods import CAPABILITIES
from probe.agent.doctor import capabilities
from tests.kubernetes.node import Node
from tests.kubernetes.sandbox_init import ADDRESS
from tests.kubernetes.sandbox_init import NAME as HOST
from tests.kubernetes.stack import ClusterStack, is_ready
from tests.probe.receiver import Receiver, all_told
from tests.providers.cluster.api import Object
from tests.waiting import until

# Of the node's own network.
APP_PORT = 4040
APP = f"https://{ADDRESS}:{APP_PORT}"
_TOLD_S_MAX = 300.0
# CapEff counts them as linux/capability.h numbers them.
_BITS = {"DAC_READ_SEARCH": 2, "NET_ADMIN": 12, "SYS_PTRACE": 19}
_OF_CLIENTS = range(32_768, 61_000)
_SERVERS = {"blue-zookeeper": 2181, "blue-masters": 5050}
CONNECTED = {
    ("blue-masters", "blue-zookeeper"),
    ("blue-agents", "blue-zookeeper"),
    ("blue-agents", "blue-masters"),
    ("frameworks-sample", "blue-masters"),
    ("frameworks-sample", "blue-zookeeper"),
    ("frameworks-marathon", "blue-masters"),
    ("frameworks-marathon", "blue-zookeeper"),
    ("clients-traffic", "blue-zookeeper"),
}
"""Workloads of which the first is always a client of the second."""
_AT_TIMES = {
    *(("probe-cluster", name) for name in _SERVERS),
    *((f"blue-{tier}-caretaker", "blue-masters") for tier in ("masters", "agents")),
    ("blue-masters", "blue-masters"),
}


class Seen:
    """What the app was told, beside what there is."""

    def __init__(self, node: Node, stack: ClusterStack, app: Receiver) -> None:
        self.node, self.stack, self.app = node, stack, app
        self.watchers, self.agents = stack.probe_namespaces
        self.places = (stack.namespace, stack.agents_namespace, self.watchers, self.agents)

    def rows(self, topology: str) -> dict[str, Mapping[str, Any]]:
        """Nodes of all probes, of which each topology here has one."""
        return {
            id_: row
            for mirror in self.app.mirrors.values()
            for id_, row in mirror.nodes(topology).items()
        }

    def pods(self, *namespaces: str) -> list[Object]:
        """What the API server says."""
        cluster = self.stack.cluster
        return [
            pod for place in namespaces or self.places for pod in cluster.list("v1", "Pod", place)
        ]

    def uid(self, name: str) -> str:
        (found,) = [pod for pod in self.pods() if pod["metadata"]["name"] == name]
        return found["metadata"]["uid"]

    @property
    def agent(self) -> str:
        """The agent's pod, of which the node has one."""
        (pod,) = self.pods(self.agents)
        return pod["metadata"]["name"]

    async def everything(self) -> None:
        """Wait until all pods are ready, and told of with their containers."""

        def is_told() -> bool:
            pods, rows = self.pods(), self.rows("kubernetes_pod")
            containers = self.rows("container")
            return all(
                is_ready(pod)
                and rows.get(pod["metadata"]["uid"], {}).get("ready")
                and ids_of(pod) <= containers.keys()
                for pod in pods
            )

        await self.told(is_told, "every pod with its containers")

    async def told(self, condition: Callable[[], object], what: str) -> None:
        """Wait; the event loop must answer probes meanwhile."""
        await until(lambda: asyncio.to_thread(condition), what, _TOLD_S_MAX)

    def assert_the_node_is_told(self) -> None:
        """The host, under the name by which Kubernetes' node names it."""
        hosts = self.rows("host")
        assert HOST in hosts
        assert any(f" {ADDRESS}/" in one for one in hosts[HOST]["addresses"])
        (told,) = self.rows("kubernetes_node").values()
        assert (told["name"], told["host"]) == (HOST, HOST)

    def assert_pods_are_told(self) -> None:
        """Pods by who watches the cluster, and their containers by who looks at the node."""
        told, containers = self.rows("kubernetes_pod"), self.rows("container")
        for pod in self.pods():
            metadata = pod["metadata"]
            row = told[metadata["uid"]]
            assert row["name"] == metadata["name"]
            assert row["namespace"].endswith(f";{metadata['namespace']}")
            assert row["node"].endswith(f";{HOST}")
            for status in pod["status"]["containerStatuses"]:
                own = containers[id_of(status)]
                wanted = (metadata["uid"], status["name"], "containerd", "running", False)
                keys = ("pod", "name", "runtime", "state", "pause")
                assert tuple(own[key] for key in keys) == wanted
                assert f"io.kubernetes.pod.namespace={metadata['namespace']}" in own["labels"]
                assert own["host_network"] is bool(pod["spec"].get("hostNetwork"))
                assert own["memory_bytes"] > 0
            pauses = [
                row
                for row in containers.values()
                if row.get("pod") == metadata["uid"] and row["pause"]
            ]
            assert [row["state"] for row in pauses] == ["running"]

    async def assert_mesos_is_told(self) -> None:
        """ZooKeeper and Mesos by their interfaces, tied to their pods; of green that it is away."""
        place = f"{self.stack.namespace}.svc"
        server = f"blue-zookeeper-0.blue-zookeeper.{place}:2181"
        master = f"blue-masters-0.blue-masters.{place}:5050"

        def is_told() -> bool:
            tasks = [row["state"] for row in self.rows("mesos_task").values()]
            told = (
                self.rows("zookeeper_server").get(server, {}),
                self.rows("mesos_master").get(master, {}),
            )
            told += tuple(self.rows("marathon").values())
            return tasks == ["TASK_RUNNING"] * 2 and all(row.get("pod") for row in told)

        await self.told(is_told, "two tasks that run, and pods of who serves")
        zookeeper = self.rows("zookeeper_server")[server]
        # A lone server that may be joined by others is a quorum of one.
        assert (zookeeper["state"], zookeeper["cluster"]) == ("leader", "blue"), zookeeper
        assert zookeeper["pod"] == self.uid("blue-zookeeper-0")
        ensembles = self.rows("zookeeper_ensemble")
        assert (ensembles["blue"]["leader"], ensembles["blue"]["quorum"]) == (server, True)
        assert (ensembles["green"]["serving"], ensembles["green"]["quorum"]) == (0, False)
        leader = self.rows("mesos_master")[master]
        assert (leader["leading"], leader["pod"]) == (True, self.uid("blue-masters-0"))
        ((agent_id, agent),) = self.rows("mesos_agent").items()
        assert (agent["cluster"], agent["master"], agent["active"]) == ("blue", master, True)
        assert {row["agent"] for row in self.rows("mesos_task").values()} == {agent_id}
        frameworks = self.rows("mesos_framework").values()
        told = {(row["name"], row["connected"], row["master"]) for row in frameworks}
        assert told == {(name, True, master) for name in ("sample", "marathon")}, told
        (marathon,) = self.rows("marathon").values()
        assert (marathon["leading"], marathon["pod"]) == (True, self.uid("frameworks-marathon-0"))

    async def assert_connections_are_told(self) -> None:
        """Who talks to whom, by the containers of both ends, and nobody who does not."""
        wanted = {(client, server, _SERVERS[server]) for client, server in CONNECTED}
        await self.told(lambda: wanted <= self.connected(), f"connections {wanted}")
        possible = CONNECTED | _AT_TIMES
        served = {pair for pair in self.connected() if pair[2] in _SERVERS.values()}
        assert {pair for pair in served if pair[:2] not in possible} == set()
        # Nobody connects to a client.
        listened = {row["port"] for row in self.rows("endpoint").values()}
        ports = {row["server_port"] for row in self.rows("connection").values()}
        assert {port for port in ports - listened if port in _OF_CLIENTS} == set()

    def connected(self) -> set[tuple[str, str, int]]:
        """Workloads of both ends, and the server's port."""
        names = {pod["metadata"]["uid"]: name_of(pod) for pod in self.pods()}
        containers = self.rows("container")

        def of(row: Mapping[str, Any], end: str) -> str | None:
            container = containers.get(row.get(f"{end}_container", ""), {})
            return names.get(container.get("pod", ""))

        return {
            (client, server, row["server_port"])
            for row in self.rows("connection").values()
            if (client := of(row, "client")) and (server := of(row, "server"))
        }

    def assert_confined(self) -> None:
        """The agent has what is listed for it, each with its reason, and writes nowhere."""
        status = dict(
            line.split(":", 1) for line in self.within("cat /proc/self/status") if ":" in line
        )
        listed = sum(1 << _BITS[name] for name in CAPABILITIES)
        held = {int(status[name].strip(), 16) for name in ("CapPrm", "CapEff", "CapBnd")}
        assert held == {listed}
        assert status["NoNewPrivs"].strip() == "1"
        assert status["Seccomp"].strip() == "2"
        for place in (
            "/intruder",
            "/host/run/intruder",
            "/sys/fs/cgroup/intruder",
            "/etc/probe/it",
        ):
            self.refused(f"touch {place}", "Read-only file system")
        self.refused("ls /var/run/secrets/kubernetes.io", "No such file")
        self.refused("chown 1 /run/probe", "Operation not permitted")
        get = self.stack.cluster.get
        levels = {"restricted": self.watchers, "privileged": self.agents}
        for level, name in levels.items():
            namespace = get("v1", "Namespace", name)
            assert namespace is not None
            labels = namespace["metadata"]["labels"]
            assert labels["pod-security.kubernetes.io/enforce"] == level
        told = get("v1", "Namespace", self.agents)
        assert told is not None
        assert "processes" in told["metadata"]["annotations"]["mesos-platform/why-privileged"]

    def assert_it_says_what_it_sees(self) -> None:
        """`status` of the running one and `doctor` beside it, in its pod."""
        found = self.asked("status")
        collectors = {one["name"]: one for one in found["collectors"]}
        for name in ("host", "process", "cri", "connections", "mesos_container", "names"):
            assert collectors[name]["state"] == "full", collectors[name]
        # There is no Docker on this node.
        assert collectors["container"]["state"] == "absent"
        assert "containerd" in collectors["cri"]["mode"]
        (outlet,) = found["apps"]
        assert (outlet["app"], outlet["problem"]) == (f"{ADDRESS}:{APP_PORT}", None), outlet
        diagnosis = self.asked("doctor")
        held = {one["name"] for one in diagnosis["capabilities"] if one["held"]}
        assert held == {f"CAP_{name}" for name in CAPABILITIES}
        assert {one["name"] for one in diagnosis["capabilities"]} == {
            one.name for one in capabilities()
        }
        findings = {one["collector"]: one for one in diagnosis["findings"]}
        assert findings["cri"]["nodes"] >= len(self.pods())
        watcher = self.pods(self.watchers)[0]["metadata"]["name"]
        watched = self.asked("status", watcher)
        (mesos,) = [one for one in watched["collectors"] if one["name"] == "mesos"]
        # What is not there yet is missed, and nothing else.
        assert mesos["state"] == "partial"
        assert mesos["misses"]
        assert all("green" in miss for miss in mesos["misses"]), mesos
        # It looks at no node, and so lacks nothing of one.
        beside = self.asked("doctor", watcher)
        assert (beside["capabilities"], beside["host_processes"]) == ([], None)

    def assert_no_secret_is_shown(self, known: Mapping[str, str]) -> None:
        """Neither declared nor told anywhere, and no process was started with one."""
        runner = self.stack.runner
        started = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\0' ' '; true"
        texts = {
            "objects": json.dumps(self.pods()) + self.objects("ConfigMap"),
            "outputs": json.dumps(runner.outputs()) + runner.config_file.read_text(),
            "report": all_told(self.app.mirrors.values()),
            "processes": "".join(self.within(started)),
        }
        for where, text in texts.items():
            shown = [name for name, value in known.items() if value.rpartition(":")[2] in text]
            assert shown == [], where

    def objects(self, kind: str) -> str:
        cluster = self.stack.cluster
        return json.dumps([cluster.list("v1", kind, place) for place in self.places])

    def print_figures(self) -> None:
        """What it costs and what it named, for who reads the run's output."""
        (watcher,) = self.pods(self.watchers)
        for name in (self.agent, watcher["metadata"]["name"]):
            found = self.asked("status", name)
            figures = {key: found[key] for key in ("cpu_percent", "rss_mb", "uptime_s", "nodes")}
            print(name, json.dumps(figures))  # noqa: T201 - asked for with -s
            for one in found["collectors"]:
                print("  ", json.dumps(one))  # noqa: T201 - as above

    def asked(self, verb: str, pod: str | None = None) -> dict[str, Any]:
        """What the probe's own command says in a pod."""
        command = f"python -m probe.cli agent {verb} --json --settings /etc/probe/settings.json"
        return json.loads("\n".join(self.within(f"{command}; true", pod)))

    def within(self, command: str, pod: str | None = None) -> list[str]:
        done = self.execute(command, pod)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        return done.stdout.splitlines()

    def refused(self, command: str, expected: str) -> None:
        done = self.execute(command)
        assert done.returncode != 0, command
        assert expected in done.stderr

    def execute(self, command: str, pod: str | None = None) -> subprocess.CompletedProcess[str]:
        namespace = self.watchers if pod and pod.startswith("probe-cluster") else self.agents
        words = ("exec", f"--namespace={namespace}", pod or self.agent, "--")
        return self.node.kubectl(*words, "bash", "-c", command)


def id_of(status: Object) -> str:
    return status["containerID"].rpartition("://")[2]


def ids_of(pod: Object) -> set[str]:
    """Containers that a pod has now."""
    statuses = pod.get("status", {}).get("containerStatuses", ())
    return {id_of(one) for one in statuses if one.get("containerID")}


def name_of(pod: Object) -> str:
    return pod["metadata"]["labels"]["app.kubernetes.io/name"]
