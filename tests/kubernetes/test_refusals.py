"""What cannot be is said in one message, before anything was made where it is known by then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks.errors import ConfigError, ResourceFailedError, StackError
from tests import ports
from tests.kubernetes.control_plane import ControlPlane, node
from tests.kubernetes.stack import IMAGES, ClusterStack
from tests.providers.cluster.api import Cluster, Object
from tests.providers.kubernetes import APPLIES

_BOUND_S = 600


def is_untouched(stack: ClusterStack) -> bool:
    return stack.cluster.get("v1", "Namespace", stack.namespace) is None


@pytest.mark.timeout(_BOUND_S)
@pytest.mark.parametrize(
    ("kubernetes", "sizes", "expected"),
    [
        ({}, {"zookeeper": {"replicas": 4}}, "odd number of members"),
        ({}, {"masters": {"replicas": 2}}, "odd number of members"),
        ({"images": {**IMAGES, "zookeeper": "zookeeper:3.9"}}, {}, "pinned by its digest"),
        ({"node_networks": []}, {}, "node_networks"),
    ],
)
def test_a_wrong_configuration_changes_nothing(
    stack: ClusterStack,
    kubernetes: dict[str, object],
    sizes: dict[str, object],
    expected: str,
) -> None:
    stack.configure(kubernetes=kubernetes, cluster=sizes)

    for work in (stack.runner.preview, stack.runner.up):
        with pytest.raises(ConfigError, match=expected):
            work()

    assert is_untouched(stack)


@pytest.mark.timeout(_BOUND_S)
def test_who_may_not_is_told_so_by_the_preview(
    stack: ClusterStack, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = plane.authority.kubeconfig("nobody", plane.server)
    monkeypatch.setenv(APPLIES, str(nobody))

    for work in (stack.runner.preview, stack.runner.up):
        with pytest.raises(ResourceFailedError) as failure:
            work()
        assert "Forbidden: namespaces" in str(failure.value)
        assert 'User "nobody" cannot' in str(failure.value)
        assert "Traceback" not in str(failure.value)

    assert is_untouched(stack)


@pytest.mark.timeout(_BOUND_S)
def test_a_server_that_does_not_answer_is_named(
    stack: ClusterStack, plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = f"https://127.0.0.1:{ports.free_port()}"
    elsewhere = tmp_path / "kubeconfig"
    elsewhere.write_text(plane.admin.read_text().replace(plane.server, server))
    monkeypatch.setenv(APPLIES, str(elsewhere))

    with pytest.raises(StackError, match=f"expected an API server at {server}") as failure:
        stack.runner.preview()
    assert "Traceback" not in str(failure.value)


@pytest.mark.timeout(_BOUND_S)
def test_somebody_elses_object_is_left_alone(stack: ClusterStack, cluster: Cluster) -> None:
    namespace = {"name": stack.namespace}
    foreign = {"apiVersion": "v1", "kind": "Namespace", "metadata": namespace}
    cluster.apply(foreign, manager="somebody")

    with pytest.raises(ResourceFailedError, match="saw one that somebody made"):
        stack.runner.up()

    assert stack.objects() == []


@pytest.fixture
def spare_node(cluster: Cluster) -> Iterator[Object]:
    """A node more than the rig has; it is made by the test."""
    spare = node("spare", zone="a")
    yield spare
    cluster.delete(spare, propagation="Background")


@pytest.mark.timeout(_BOUND_S)
def test_pods_that_find_no_node_are_told_and_go_on_when_there_is_one(
    spare_node: Object, stack: ClusterStack
) -> None:
    sizes = {"zookeeper": {"replicas": 7}}
    stack.configure(kubernetes={"spread": "hosts", "ready_timeout_s": 6}, cluster=sizes)

    with pytest.raises(ResourceFailedError) as failure:
        stack.runner.up()

    text = str(failure.value)
    assert "expected StatefulSet" in text
    assert "6 of 7 pods are ready" in text
    assert "Unschedulable" in text
    assert "Traceback" not in text

    # A wider spread would not do: those that stand already want the narrow one.
    stack.cluster.create(spare_node)
    stack.configure(kubernetes={"spread": "hosts"}, cluster=sizes)
    stack.runner.up()
    assert stack.get("apps/v1", "StatefulSet", "blue-zookeeper")["status"]["readyReplicas"] == 7
