"""A whole Kubernetes control plane on loopback, with as many nodes as one likes.

etcd, API server, controller manager and scheduler are the real ones, each with a certificate of
its own; authorisation is by roles, and admission enforces what namespaces say of pod security.
Nodes are kwok's: a pod that is scheduled there is ready at once, volumes are bound, and nothing
runs.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests import ports
from tests.kubernetes.certificates import Authority, Pair
from tests.kubernetes.programs import Programs
from tests.providers.cluster.api import Cluster, Object
from tools import locate
from tools.kubernetes_recipes import ETCD, KUBERNETES, KWOK, STAGES

ADMIN = "admin"
MASTERS = "system:masters"
# Where pods see the API server's and each other's addresses; nothing listens there.
_SERVICES = "10.96.0.0/16"
# The first of them.
_SERVICE_OF_API = "10.96.0.1"
PODS = "10.244.0.0/16"
ZONES = ("a", "b", "c")
_AUDIT_LOG = "audit.log"
# Of all that servers, controllers and tests call, what somebody with every right has written.
_AUDITED = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {
            "level": "Metadata",
            "users": [ADMIN],
            "verbs": ["create", "update", "patch", "delete", "deletecollection"],
        },
        {"level": "None"},
    ],
}


@dataclass(frozen=True)
class ControlPlane:
    """A running one; `admin` is the kubeconfig of somebody who may do everything."""

    admin: Path
    server: str
    authority: Authority
    programs: Programs = field(repr=False)

    def restart_server(self) -> None:
        """End the API server as a crash does, start it anew, and wait until it serves."""
        self.programs.restart("kube-apiserver")
        with self.cluster() as cluster:
            self.programs.wait(cluster.is_ready, "an API server that has started anew")

    def writes(self) -> list[str]:
        """Verb and address of each call by which `admin` has written, by the server's audit log;
        not those that only asked what would come of it."""
        text = (self.programs.folder / _AUDIT_LOG).read_text()
        events = [json.loads(line) for line in text.splitlines()]
        return [
            f"{event['verb']} {event['requestURI']}"
            for event in events
            if "dryRun=" not in event["requestURI"]
        ]

    def cluster(self) -> Cluster:
        """A connection as `admin`."""
        return Cluster.of_kubeconfig(self.admin)


@contextmanager
def running(folder: Path, *, nodes: int) -> Generator[ControlPlane]:
    """Start one; whatever was started is ended, also when the rest does not start."""
    with ExitStack() as ending:
        started = Programs(ending, folder)
        plane = start(started, ports.free_port())
        _start_kwok(started, plane)
        with plane.cluster() as cluster:
            _make_nodes(started, cluster, nodes)
        yield plane


def start(started: Programs, port: int, *, address: str | None = None) -> ControlPlane:
    """Start one without nodes, whose API server serves on a port of loopback; where it has an
    address besides, pods reach it there by its service."""
    authority = Authority(started.folder)
    names = ["IP:127.0.0.1", "DNS:localhost", "DNS:kubernetes.default.svc"]
    if address:
        names += [f"IP:{address}", f"IP:{_SERVICE_OF_API}"]
    serving = authority.issue("kube-apiserver", names=tuple(names))
    etcd = _etcd(started, authority.own.cert, serving)
    words = _server_words(authority, serving, etcd, port)
    policy = started.folder / "audit-policy.json"
    policy.write_text(json.dumps(_AUDITED))
    words |= {"audit-policy-file": policy, "audit-log-path": started.folder / _AUDIT_LOG}
    if address:
        every_address = "0.0.0.0"  # noqa: S104 - of a sandbox
        words |= {"bind-address": every_address, "advertise-address": address}
    else:
        # A loopback address is no endpoint.
        words["endpoint-reconciler-type"] = "none"
    started.start(KUBERNETES, "kube-apiserver", words)
    server = f"https://127.0.0.1:{port}"
    admin = authority.kubeconfig(ADMIN, server, groups=(MASTERS,))
    plane = ControlPlane(admin, server, authority, started)
    with plane.cluster() as cluster:
        started.wait(cluster.is_ready, "an API server")
    _start_controllers(started, plane)
    return plane


def _etcd(started: Programs, authority: Path, pair: Pair) -> str:
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
    kubelets = authority.issue("kube-apiserver-kubelet-client", groups=(MASTERS,))
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
        # Logs of a pod and commands in it are its node's to give.
        "kubelet-client-certificate": kubelets.cert,
        "kubelet-client-key": kubelets.key,
        "kubelet-certificate-authority": authority.own.cert,
        "kubelet-preferred-address-types": "InternalIP",
    }


def _start_controllers(started: Programs, plane: ControlPlane) -> None:
    authority = plane.authority

    def common(user: str) -> dict[str, object]:
        config = authority.kubeconfig(user, plane.server)
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


def _start_kwok(started: Programs, plane: ControlPlane) -> None:
    stages = started.folder / "stages.yaml"
    stages.write_text("---\n".join(path.read_text() for path in _stages(kind="Stage")))
    words = {
        "kubeconfig": plane.authority.kubeconfig("kwok", plane.server, groups=(MASTERS,)),
        "manage-all-nodes": "true",
        "cidr": PODS,
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


def _make_nodes(started: Programs, cluster: Cluster, number: int) -> None:
    for path in _stages(kind="StorageClass"):
        cluster.apply(yaml.safe_load(path.read_text()))
    for index in range(number):
        # An apply would leave out the status, which says what room there is.
        cluster.create(node(f"node-{index}", zone=ZONES[index % len(ZONES)]))
    started.wait(lambda: is_populated(cluster, number), "ready nodes")


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


def is_populated(cluster: Cluster, number: int) -> bool:
    """Whether so many nodes are ready, and pods are admitted."""
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
