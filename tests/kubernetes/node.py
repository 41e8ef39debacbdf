"""One real node: a kubelet, containerd, runc, CNI plugins, kube-proxy and DNS, in a sandbox.

Its control plane runs in the sandbox too. Pods are real: images, mounts, probes, capabilities,
seccomp, addresses and names. What is not there: NetworkPolicies are not enforced (the bridge plugin
knows none), and no pod reaches anything outside of the sandbox.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.targets.pods import STATE_DIR
from tests import ports
from tests.kubernetes import control_plane, sandbox
from tests.kubernetes.control_plane import PODS, ControlPlane
from tests.kubernetes.programs import Programs
from tests.kubernetes.sandbox import Sandbox
from tests.kubernetes.sandbox_init import ADDRESS, NAME, NETWORK
from tests.providers.cluster.api import Cluster
from tests.waiting import block_until
from tools import locate
from tools.images.build import Images
from tools.kubernetes_recipes import CNI, COREDNS, KUBERNETES

__all__ = ["NETWORK", "Node", "running"]

_CONTAINERD = "/run/containerd/containerd.sock"
_KUBELET_PORT = 10250
_DNS_ROLE = "rig-dns"
_POD_NETWORK = f"{PODS.rpartition('/')[0]}/24"
_COMMAND_S_MAX = 120.0
STORAGE_CLASS = "rig"
_VOLUMES = 32
_ENDED_S_MAX = 300.0
_OWN = "rig"
_VOLUME = ("v1", "PersistentVolume")
_VOLUMES_DIR = Path("/var/lib/volumes")


@dataclass(frozen=True)
class Node:
    """A running one, and its control plane."""

    plane: ControlPlane
    sandbox: Sandbox
    images: Images

    def kubectl(self, *words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run `kubectl` as somebody who may do everything; it may fail."""
        program = locate.folder(KUBERNETES.full_name) / "kubectl"
        return subprocess.run(
            [program, f"--kubeconfig={self.plane.admin}", *words],
            check=False,
            capture_output=True,
            input=text or "",
            text=True,
            timeout=_COMMAND_S_MAX,
        )

    @property
    def volumes(self) -> Path:
        """Folders that claims are bound to, from outside."""
        return self.sandbox.outside(_VOLUMES_DIR)

    def process_of(self, words: str) -> int:
        """The one process of its pods whose command line holds these words, from outside."""
        found = [
            int(place.name)
            for place in Path("/proc").glob("[0-9]*")
            if words in _read(place / "cmdline").replace("\0", " ")
            and self.sandbox.groups[0].name in _read(place / "cgroup")
        ]
        assert len(found) == 1, f"{len(found)} processes run {words}"
        return found[0]

    def make_room(self, cluster: Cluster) -> None:
        """Wait until earlier stacks are gone, and empty the volumes that they left."""

        def is_over() -> bool:
            namespaces = [one["metadata"] for one in cluster.list("v1", "Namespace")]
            volumes = [one["status"].get("phase") for one in cluster.list(*_VOLUME)]
            return "Bound" not in volumes and all(
                "deletionTimestamp" not in one for one in namespaces
            )

        block_until(is_over, "the end of earlier stacks", _ENDED_S_MAX)
        for volume in cluster.list(*_VOLUME):
            if volume["status"].get("phase") == "Released":
                place = self.volumes / volume["metadata"]["name"]
                shutil.rmtree(place)
                place.mkdir()
                freed = {"spec": {"claimRef": None}}
                cluster.patch(_volume(volume["metadata"]["name"]), freed, manager=_OWN)
        # An agent would go on as that of the cluster before, with tasks whose end nobody learns.
        for left in self.sandbox.outside(Path(STATE_DIR)).glob("*"):
            shutil.rmtree(left)

    def place_secrets(self, place: Path, values: Mapping[str, str]) -> None:
        """Put files where a pod would find them, for what runs in the sandbox beside pods."""
        folder = self.sandbox.outside(place)
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        for name, value in values.items():
            file = folder / name
            file.touch(mode=0o600)
            file.write_text(value)


def _read(path: Path) -> str:
    """A file of a process; empty when it has ended."""
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""


@contextmanager
def running(folder: Path, images: Images) -> Generator[Node]:
    """Start one that has these images; whatever was started is ended, and nothing stays."""
    with ExitStack() as ending:
        place = ending.enter_context(sandbox.running(folder))
        started = Programs(ending, folder, place.wrap)
        port = _relay(ending, started)
        _start_containerd(started, place, images)
        plane = control_plane.start(started, port, address=ADDRESS)
        with plane.cluster() as cluster:
            _start_dns(started, plane, cluster)
            _start_proxy(started, plane)
            _start_kubelet(started, plane)
            _make_volumes(place, cluster)
            _take_requests_down(cluster)
            started.wait(lambda: control_plane.is_populated(cluster, 1), "a ready node")
        yield Node(plane, place, images)


def _relay(ending: ExitStack, started: Programs) -> int:
    """Lead a port of this machine to the same one of the sandbox; returns it."""
    port = ports.free_port()
    listening = ending.enter_context(socket.create_server(("127.0.0.1", port)))
    listening.set_inheritable(True)
    descriptor = listening.fileno()
    words = [sys.executable, "-m", "tests.kubernetes.relay", str(descriptor), str(port)]
    started.run("relay", words, files=[descriptor])
    return port


def _start_containerd(started: Programs, place: Sandbox, images: Images) -> None:
    cni = started.folder / "cni"
    cni.mkdir()
    (cni / "10-rig.conflist").write_text(json.dumps(_network()))
    runtime = "[plugins.'io.containerd.grpc.v1.cri'"
    config = started.folder / "containerd.toml"
    config.write_text(
        f"""\
version = 2
oom_score = 0
[grpc]
address = "{_CONTAINERD}"
{runtime}]
sandbox_image = "{images.pause}"
# Without the right to lower the score, every sandbox would die.
restrict_oom_score_adj = true
{runtime}.cni]
bin_dir = "{locate.folder(CNI.full_name)}"
conf_dir = "{cni}"
"""
    )
    started.run("containerd", ["containerd", f"--config={config}"])

    def ctr(*words: str) -> list[str]:
        return ["ctr", f"--address={_CONTAINERD}", "--namespace=k8s.io", *words]

    def answers() -> bool:
        done = subprocess.run(place.wrap(ctr("version")), check=False, capture_output=True)
        return done.returncode == 0

    started.wait(answers, "containerd")
    place.run(ctr("images", "import", str(images.archive)), timeout_s=_COMMAND_S_MAX)


def _network() -> dict[str, Any]:
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": _POD_NETWORK}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    ports_too = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "rig", "plugins": [bridge, ports_too]}


def _start_dns(started: Programs, plane: ControlPlane, cluster: Cluster) -> None:
    user = f"system:{_DNS_ROLE}"
    resources = ["services", "pods", "namespaces", "endpoints"]
    rules = [
        {"apiGroups": [""], "resources": resources, "verbs": ["list", "watch"]},
        {
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": ["list", "watch"],
        },
    ]
    _bind(cluster, _DNS_ROLE, user, rules)
    # Nothing is kept: a name that is not there yet is asked for again in a moment.
    config = started.folder / "Corefile"
    config.write_text(
        f"""\
.:53 {{
    bind {ADDRESS}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {plane.authority.kubeconfig(user, plane.server)}
    }}
}}
"""
    )
    started.start(COREDNS, "coredns", {"conf": config})


def _bind(cluster: Cluster, role: str, user: str, rules: Sequence[Mapping[str, Any]]) -> None:
    group = "rbac.authorization.k8s.io"
    made = {"apiVersion": f"{group}/v1", "metadata": {"name": role}}
    subjects = [{"kind": "User", "name": user, "apiGroup": group}]
    reference = {"kind": "ClusterRole", "name": role, "apiGroup": group}
    cluster.apply({**made, "kind": "ClusterRole", "rules": list(rules)})
    binding = {"kind": "ClusterRoleBinding", "subjects": subjects, "roleRef": reference}
    cluster.apply({**made, **binding})


def _start_proxy(started: Programs, plane: ControlPlane) -> None:
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "bindAddress": ADDRESS,
        "clusterCIDR": PODS,
        "hostnameOverride": NAME,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "oomScoreAdj": 0,
        "clientConnection": {
            "kubeconfig": str(plane.authority.kubeconfig("system:kube-proxy", plane.server))
        },
        # Sizes of the kernel's table are the whole machine's.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }
    started.start(KUBERNETES, "kube-proxy", {"config": _written(started, "kube-proxy", config)})


def _start_kubelet(started: Programs, plane: ControlPlane) -> None:
    authority = plane.authority
    user = f"system:node:{NAME}"
    serving = authority.issue(f"kubelet-{NAME}", names=(f"IP:{ADDRESS}", f"DNS:{NAME}"))
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "port": _KUBELET_PORT,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority.own.cert)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(serving.cert),
        "tlsPrivateKeyFile": str(serving.key),
        "clusterDomain": "cluster.local",
        "clusterDNS": [ADDRESS],
        "resolvConf": "",
        "containerRuntimeEndpoint": f"unix://{_CONTAINERD}",
        # Of both versions of control groups; the older one is refused unless one says so.
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "oomScoreAdj": 0,
        # How full the disk of this machine is, is not the rig's matter.
        "evictionHard": {"imagefs.available": "0%", "nodefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": False,
        "volumePluginDir": str(started.folder / "volume-plugins"),
    }
    words = {
        "config": _written(started, "kubelet", config),
        "kubeconfig": authority.kubeconfig(user, plane.server, groups=("system:nodes",)),
        "hostname-override": NAME,
        "node-ip": ADDRESS,
        "node-labels": "topology.kubernetes.io/zone=a,topology.kubernetes.io/region=rig",
    }
    started.start(KUBERNETES, "kubelet", words)


def _written(started: Programs, name: str, config: Mapping[str, Any]) -> Path:
    path = started.folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(dict(config)))
    return path


def _make_volumes(place: Sandbox, cluster: Cluster) -> None:
    """Folders of the node that claims are bound to."""
    storage = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass"}
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    cluster.apply(
        {
            **storage,
            "metadata": {"name": STORAGE_CLASS, "annotations": default},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        }
    )
    for index in range(_VOLUMES):
        name = f"volume-{index}"
        place.outside(_VOLUMES_DIR / name).mkdir(parents=True)
        cluster.apply(_volume(name))


def _volume(name: str) -> dict[str, Any]:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NAME]}
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": STORAGE_CLASS,
            "local": {"path": str(_VOLUMES_DIR / name)},
            "nodeAffinity": affinity,
        },
    }


def _take_requests_down(cluster: Cluster) -> None:
    """Let pods that ask for more processors than a small machine has be scheduled all the same."""
    group = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "small-node"}}
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"]}
    asks = (
        "object.spec.containers.all(c, has(c.resources.requests) && 'cpu' in c.resources.requests)"
    )
    request = "/spec/containers/0/resources/requests/cpu"
    change = f'[JSONPatch{{op: "replace", path: "{request}", value: "10m"}}]'
    cluster.apply(
        {
            **group,
            "kind": "MutatingAdmissionPolicy",
            "spec": {
                "failurePolicy": "Fail",
                "reinvocationPolicy": "Never",
                "matchConstraints": {"resourceRules": [{**pods, "resources": ["pods"]}]},
                "matchConditions": [{"name": "asks-for-processors", "expression": asks}],
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": change}}],
            },
        }
    )
    binding = {"kind": "MutatingAdmissionPolicyBinding", "spec": {"policyName": "small-node"}}
    cluster.apply({**group, **binding})
