"""One control plane for all tests of this folder that a worker runs."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes import control_plane
from tests.kubernetes import stack as stack_module
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.stack import ClusterStack
from tests.providers.cluster.api import Cluster, Object
from tests.providers.cluster.ready import wait_gone
from tests.providers.kubernetes import APPLIES
from tests.stacks.conftest import engine, project
from tools import locate
from tools.kubernetes_recipes import KUBERNETES_RECIPES

__all__ = ["engine", "project"]

# Two a zone: enough to spread five servers over, and to have agents on.
NODES = 6
_GONE_S_MAX = 120.0


@pytest.fixture(scope="session")
def plane(environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane; left out where it was not built, which CI takes for a failure."""
    try:
        for recipe in KUBERNETES_RECIPES:
            locate.folder(recipe.full_name)
    except locate.ToolMissingError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    with control_plane.running(tmp_path_factory.mktemp("control-plane"), nodes=NODES) as plane:
        yield plane


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
    remove(cluster, made.namespace, made.agents_namespace)


def remove(cluster: Cluster, *namespaces: str) -> None:
    """Remove namespaces and wait for it: agents hold ports of nodes, which the next ones use."""
    gone: list[Object] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in namespaces
    ]
    for namespace in gone:
        cluster.delete(namespace)
    for namespace in gone:
        wait_gone(cluster, namespace, _GONE_S_MAX)
