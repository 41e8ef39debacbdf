"""A whole Kubernetes control plane on loopback, with as many nodes as one likes.

etcd, API server, controller manager and scheduler are the real ones, each with a certificate of
its own; authorisation is by roles, and admission enforces what namespaces say of pod security.
Nodes are kwok's: a pod that is scheduled there is ready at once, volumes are bound, and nothing
runs.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests import ports
from tests.kubernetes.certificates import Authority, Pair
from tests.providers.cluster.api import Cluster, Object
from tests.waiting import block_until
from tools import locate
from tools.kubernetes_recipes import ETCD, KUBERNETES, KWOK, STAGES
from tools.recipes import Recipe

ADMIN = "admin"
MASTERS = "system:masters"
# Where pods see the API server's and each other's addresses; nothing listens there.
_SERVICES = "10.96.0.0/16"
_PODS = "10.244.0.0/16"
# Beside other work on two cores; 6 s on an idle machine.
_START_S_MAX = 240.0
_STOP_S_MAX = 10.0
_TAIL = 2000
ZONES = ("a", "b", "c")


@dataclass(frozen=True)
class ControlPlane:
    """A running one; `admin` is the kubeconfig of somebody who may do everything."""

    admin: Path
    server: str
    authority: Authority

    def cluster(self) -> Cluster:
        """A connection as `admin`."""
        return Cluster.of_kubeconfig(self.admin)


@contextmanager
def running(folder: Path, *, nodes: int) -> Generator[ControlPlane]:
    """Start one; whatever was started is ended, also when the rest does not start."""
    with ExitStack() as ending:
        started = _Programs(ending, folder)
        authority = Authority(folder)
        loopback = ("IP:127.0.0.1", "DNS:localhost")
        serving = authority.issue("kube-apiserver", names=(*loopback, "DNS:kubernetes.default.svc"))
        etcd = _etcd(started, authority.own.cert, serving)
        port = ports.free_port()
        started.start(KUBERNETES, "kube-apiserver", _server_words(authority, serving, etcd, port))
        server = f"https://127.0.0.1:{port}"
        admin = authority.kubeconfig(ADMIN, server, groups=(MASTERS,))
        plane = ControlPlane(admin, server, authority)
        with plane.cluster() as cluster:
            started.wait(cluster.is_ready, "an API server")
            _start_controllers(started, plane)
            _make_nodes(started, cluster, nodes)
        yield plane


class _Programs:
    """Programs that end with us; the first that ends before is told with what it said last."""

    def __init__(self, ending: ExitStack, folder: Path) -> None:
        self.folder = folder
        self._ending = ending
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, recipe: Recipe, program: str, words: Mapping[str, object]) -> None:
        """Start one with these flags."""
        path = locate.folder(recipe.full_name) / program
        log = self._ending.enter_context(self._log(program).open("w"))
        # The kernel ends it with us, however we end.
        command = ["setpriv", "--pdeathsig", "KILL", str(path)]
        process = subprocess.Popen(
            [*command, *(f"--{name}={value}" for name, value in words.items())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
        )
        self._running[program] = process
        self._ending.callback(_stop, process)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition that all of them are needed for."""

        def look() -> bool:
            for program, process in self._running.items():
                tail = self._log(program).read_text()[-_TAIL:]
                assert process.poll() is None, f"{program} ended: {tail}"
            return condition()

        block_until(look, f"{what} (logs lie in {self.folder})", _START_S_MAX)

    def _log(self, program: str) -> Path:
        return self.folder / f"{program}.log"


def _etcd(started: _Programs, authority: Path, pair: Pair) -> str:
    url, peer = (f"https://127.0.0.1:{ports.free_port()}" for _ in range(2))
    words = {
        "data-dir": started.folder / "etcd",
        "listen-client-urls": url,
        "advertise-client-urls": url,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "cert-file": pair.cert,
        "key-file": pair.key,
        "trusted-ca-file": authority,
        "client-cert-auth": "true",
        "peer-cert-file": pair.cert,
        "peer-key-file": pair.key,
        "peer-trusted-ca-file": authority,
        # The data end with the rig.
        "unsafe-no-fsync": "true",
        "log-level": "warn",
    }
    started.start(ETCD, "etcd", words)
    return url


def _server_words(authority: Authority, pair: Pair, etcd: str, port: int) -> dict[str, object]:
    return {
        "etcd-servers": etcd,
        "etcd-cafile": authority.own.cert,
        "etcd-certfile": pair.cert,
        "etcd-keyfile": pair.key,
        "bind-address": "127.0.0.1",
        "secure-port": port,
        "tls-cert-file": pair.cert,
        "tls-private-key-file": pair.key,
        "client-ca-file": authority.own.cert,
        "service-account-key-file": authority.accounts.cert,
        "service-account-signing-key-file": authority.accounts.key,
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-cluster-ip-range": _SERVICES,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        # What may be privileged is each namespace's matter.
        "allow-privileged": "true",
        "anonymous-auth": "false",
        # A loopback address is no endpoint.
        "endpoint-reconciler-type": "none",
    }


def _start_controllers(started: _Programs, plane: ControlPlane) -> None:
    authority = plane.authority

    def kubeconfig(user: str, *groups: str) -> Path:
        return authority.kubeconfig(user, plane.server, groups=groups)

    def common(user: str) -> dict[str, object]:
        config = kubeconfig(user)
        return {
            "kubeconfig": config,
            "authentication-kubeconfig": config,
            "authorization-kubeconfig": config,
            "bind-address": "127.0.0.1",
            "secure-port": ports.free_port(),
            "leader-elect": "false",
            "kube-api-qps": 500,
            "kube-api-burst": 1000,
        }

    words = {
        **common("system:kube-controller-manager"),
        "service-account-private-key-file": authority.accounts.key,
        "root-ca-file": authority.own.cert,
        "use-service-account-credentials": "true",
    }
    started.start(KUBERNETES, "kube-controller-manager", words)
    started.start(KUBERNETES, "kube-scheduler", common("system:kube-scheduler"))
    stages = started.folder / "stages.yaml"
    stages.write_text("---\n".join(path.read_text() for path in _stages(kind="Stage")))
    words = {
        "kubeconfig": kubeconfig("kwok", MASTERS),
        "manage-all-nodes": "true",
        "cidr": _PODS,
        "node-ip": "10.0.0.1",
        "node-lease-duration-seconds": 40,
        "config": stages,
    }
    started.start(KWOK, "kwok", words)


def _stages(*, kind: str) -> list[Path]:
    folder = locate.folder(KWOK.full_name) / STAGES
    return [
        path
        for path in sorted(folder.glob("*.yaml"))
        if yaml.safe_load(path.read_text())["kind"] == kind
    ]


def _make_nodes(started: _Programs, cluster: Cluster, number: int) -> None:
    for path in _stages(kind="StorageClass"):
        cluster.apply(yaml.safe_load(path.read_text()))
    for index in range(number):
        # An apply would leave out the status, which says what room there is.
        cluster.create(node(f"node-{index}", zone=ZONES[index % len(ZONES)]))
    started.wait(lambda: _is_populated(cluster, number), "ready nodes")


def node(name: str, *, zone: str) -> Object:
    """A node of a size that holds many pods."""
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "topology.kubernetes.io/zone": zone,
        "topology.kubernetes.io/region": "rig",
    }
    room = {"cpu": "64", "memory": "256Gi", "pods": "250"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": room, "capacity": room},
    }


def _is_populated(cluster: Cluster, number: int) -> bool:
    nodes = cluster.list("v1", "Node")
    ready = [
        each
        for each in nodes
        for condition in each.get("status", {}).get("conditions", ())
        if condition["type"] == "Ready" and condition["status"] == "True"
    ]
    # Without one, no pod of the namespace is admitted.
    account = cluster.get("v1", "ServiceAccount", "default", "default")
    return len(ready) == number and account is not None


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
