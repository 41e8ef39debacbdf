"""One control plane, or one real node, for all tests of this folder that a worker runs."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes import control_plane, namespaces
from tests.kubernetes import node as real_node
from tests.kubernetes import stack as stack_module
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.node import Node
from tests.kubernetes.stack import ClusterStack
from tests.leaving import leave_out
from tests.providers.cluster.api import Cluster
from tests.providers.kubernetes import APPLIES
from tests.stacks.conftest import engine, project
from tools import locate
from tools.images import build
from tools.kubernetes_recipes import CNI, COREDNS, DEFINITIONS, ETCD, KUBERNETES, KWOK
from tools.prerequisites import NODE_PROGRAMS
from tools.recipes import Recipe

__all__ = ["engine", "project"]

# Two a zone: enough to spread five servers over, and to have agents on.
NODES = 6
RBAC = "rbac.authorization.k8s.io/v1"


# Both go with the last test of this folder: what they run costs as long as it is there.
@pytest.fixture(scope="package")
def plane(environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane; left out where it was not built, which CI takes for a failure."""
    need_tools(ETCD, KUBERNETES, KWOK, DEFINITIONS)
    with control_plane.running(tmp_path_factory.mktemp("control-plane"), nodes=NODES) as plane:
        yield plane


@pytest.fixture(scope="package")
def node(environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A real node with our images; left out where it cannot be, which CI takes for a failure."""
    need_tools(ETCD, KUBERNETES, CNI, COREDNS)
    if os.geteuid() != 0:
        leave_out("only root can run a node")
    if lacking := [name for name in NODE_PROGRAMS if shutil.which(name) is None]:
        leave_out(f"a node needs {', '.join(lacking)} on PATH: run `make tools-kubernetes`")
    # Not below the folder of all tests, some of which are kept.
    with tempfile.TemporaryDirectory() as folder:
        try:
            images = build.build(Path(folder))
        except locate.ToolMissingError as error:
            leave_out(str(error))
        with real_node.running(tmp_path_factory.mktemp("node"), images) as running:
            yield running


def need_tools(*recipes: Recipe) -> None:
    """Leave a test out where these were not built."""
    try:
        for recipe in recipes:
            locate.folder(recipe.full_name)
    except locate.ToolMissingError as error:
        leave_out(str(error))


@pytest.fixture
def cluster(plane: ControlPlane) -> Iterator[Cluster]:
    """A connection to it, as somebody who may do everything."""
    with plane.cluster() as cluster:
        yield cluster


@pytest.fixture
def stack(
    plane: ControlPlane, cluster: Cluster, project: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ClusterStack]:
    """A stack of its own namespaces; they are removed afterwards, whatever became of it."""
    monkeypatch.setenv(APPLIES, str(plane.admin))
    made = stack_module.make(project, cluster, f"test-{uuid.uuid4().hex[:8]}")
    yield made
    namespaces.remove(cluster, made.namespace, made.agents_namespace, *made.probe_namespaces)
    for kind in ("ClusterRoleBinding", "ClusterRole"):
        for each in cluster.list(RBAC, kind):
            if each["metadata"]["name"].startswith(f"{made.namespace}-"):
                cluster.delete({"apiVersion": RBAC, "kind": kind, "metadata": each["metadata"]})
