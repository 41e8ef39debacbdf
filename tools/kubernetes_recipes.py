"""What the rigs of Kubernetes are built from: some twenty minutes, once, when asked for.

Not part of set-up: only the tests of the target `kubernetes` want a real API server and a node.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tools.errors import StepFailedError
from tools.progress import run
from tools.recipes import HERE, Recipe, go_programs, machine, module_folder

_KUBERNETES = "1.36.2"
_KWOK = "sigs.k8s.io/kwok"
STAGES = "stages"
"""Folder of kwok's programs that holds what its nodes and pods go through."""
# A node that is ready at once and stays so, pods that are too, and volumes of its own class:
# nothing runs, and nothing is stored.
_STAGE_FOLDERS = ("node/fast", "node/heartbeat-with-lease", "pod/fast", "volume/fast")


def _version_flags() -> str:
    # Without a version the server calls itself v0.0.0, and clients take it for an old one.
    major, minor, _ = _KUBERNETES.split(".")
    values = {
        "gitVersion": f"v{_KUBERNETES}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    words = [f"-X {package}.{k}={v}" for package in packages for k, v in values.items()]
    return " ".join(["-s -w", *words])


def _kwok(recipe: Recipe, into: Path) -> None:
    go_programs(recipe, into)
    source = module_folder(recipe, _KWOK) / "kustomize" / "stage"
    (into / STAGES).mkdir()
    for folder in _STAGE_FOLDERS:
        for file in sorted((source / folder).glob("*.yaml")):
            if file.name != "kustomization.yaml":
                shutil.copyfile(file, into / STAGES / file.name)


def _definitions(recipe: Recipe, into: Path) -> None:
    for line in (HERE / recipe.sources[0]).read_text().splitlines():
        if line.startswith("#"):
            continue
        module, version, expected, *files = line.split()
        # Of an empty folder: nothing else of the module is wanted, and nothing is built.
        answer = run(
            f"Taking definitions of {module} {version}",
            ["go", "mod", "download", "-json", f"{module}@{version}"],
            folder=into,
            environment={"GOFLAGS": "", "GOWORK": "off"},
        )
        found = json.loads(answer[answer.index("{") :])
        if found["Sum"] != expected:
            msg = (
                f"expected {module} {version} with the sum {expected}, saw {found['Sum']}: "
                "somebody has published other content under that version; do not use it"
            )
            raise StepFailedError(msg)
        for file in files:
            shutil.copyfile(Path(found["Dir"]) / file, into / Path(file).name)


ETCD = Recipe(
    name="etcd",
    version="3.6.14",
    sources=("etcd/go.mod", "etcd/go.sum"),
    flags=("-trimpath", "-ldflags", "-s -w"),
    build=go_programs,
    platform=machine,
    effort="about a minute on two cores, once",
    programs=(("etcd", "go.etcd.io/etcd/server/v3"),),
    linked=False,
)
KUBERNETES = Recipe(
    name="kubernetes",
    version=_KUBERNETES,
    sources=("kubernetes/go.mod", "kubernetes/go.sum"),
    flags=("-trimpath", "-tags", "grpcnotrace", "-ldflags", _version_flags()),
    build=go_programs,
    platform=machine,
    effort="about 10 minutes for all of them on two cores, once",
    programs=tuple(
        (name, f"k8s.io/kubernetes/cmd/{name}")
        for name in (
            *("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"),
            *("kubelet", "kube-proxy"),
        )
    ),
    linked=False,
)
KWOK = Recipe(
    name="kwok",
    version="0.8.0",
    sources=("kwok/go.mod", "kwok/go.sum"),
    flags=("-trimpath", "-ldflags", "-s -w"),
    build=_kwok,
    platform=machine,
    effort="about 2 minutes on two cores, once",
    programs=(("kwok", f"{_KWOK}/cmd/kwok"),),
    linked=False,
)
DEFINITIONS = Recipe(
    name="kubernetes-definitions",
    version="1",
    sources=("kubernetes-definitions/modules.txt",),
    flags=(),
    build=_definitions,
    platform=lambda: "any",
    effort="some seconds, once",
    linked=False,
)
"""Definitions of other projects' kinds that components make objects of, as they publish them."""
_PLUGINS = "github.com/containernetworking/plugins/plugins"
CNI = Recipe(
    name="cni-plugins",
    version="1.9.1",
    sources=("cni-plugins/go.mod", "cni-plugins/go.sum"),
    flags=("-trimpath", "-ldflags", "-s -w"),
    build=go_programs,
    platform=machine,
    effort="about half a minute on two cores, once",
    programs=tuple(
        (package.rpartition("/")[2], f"{_PLUGINS}/{package}")
        for package in ("main/bridge", "main/loopback", "ipam/host-local", "meta/portmap")
    ),
    linked=False,
)
COREDNS = Recipe(
    name="coredns",
    version="1.15.0",
    sources=("coredns/go.mod", "coredns/go.sum", "coredns/main.go"),
    flags=("-trimpath", "-tags", "grpcnotrace", "-ldflags", "-s -w"),
    build=go_programs,
    platform=machine,
    effort="about 2 minutes on two cores, once",
    programs=(("coredns", "mesos-platform/tools/coredns"),),
    linked=False,
)
# The last line whose modules are all published: from 1.15 on it needs some that are not. Its
# licence is MPL-2.0, as before 1.17.
CONSUL = Recipe(
    name="consul",
    version="1.14.11",
    sources=("consul/go.mod", "consul/go.sum"),
    flags=("-trimpath", "-ldflags", "-s -w"),
    build=go_programs,
    platform=machine,
    effort="about 3 minutes on two cores, once",
    programs=(("consul", "github.com/hashicorp/consul"),),
    linked=False,
)
# The newest that is to be had as a module. It is older than Go's modules and names no others
# itself: these are published versions of what it uses that still have what it calls.
MESOS_DNS = Recipe(
    name="mesos-dns",
    version="0.6.0",
    sources=("mesos-dns/go.mod", "mesos-dns/go.sum"),
    flags=("-trimpath", "-ldflags", "-s -w"),
    build=go_programs,
    platform=machine,
    effort="about half a minute on two cores, once",
    programs=(("mesos-dns", "github.com/mesosphere/mesos-dns"),),
    linked=False,
)
KUBERNETES_RECIPES = (ETCD, KUBERNETES, KWOK, DEFINITIONS, CNI, COREDNS, CONSUL, MESOS_DNS)
ALL = "kubernetes-rig"
"""Name of all of them for `tools.install`."""
