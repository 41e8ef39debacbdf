"""An update or a removal that fails midway leaves nothing half: what stands is whole and serves,
one message says what happened, and the next run ends it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stacks.errors import ResourceFailedError
from tests.kubernetes import rights
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.stack import ClusterStack, is_ready
from tests.providers.cluster.api import Cluster, Object, part
from tests.providers.kubernetes import APPLIES

_BOUND_S = 900
STATEFUL_SET = ("apps/v1", "StatefulSet")
ENSEMBLE = "blue-zookeeper"


def uids(stack: ClusterStack, workload: str) -> dict[str, str]:
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in stack.pods(workload)}


@pytest.fixture
def nodes(cluster: Cluster) -> Iterator[list[Object]]:
    """All nodes of the rig, which take pods again afterwards."""
    found = [each | {"apiVersion": "v1", "kind": "Node"} for each in cluster.list("v1", "Node")]
    yield found
    for node in found:
        cordon(cluster, node, on=False)


def cordon(cluster: Cluster, node: Object, *, on: bool) -> None:
    change = {"spec": {"unschedulable": True if on else None}}
    cluster.patch(node, change, manager="kubectl-cordon")


@pytest.mark.timeout(_BOUND_S)
def test_a_change_of_running_pods_that_sticks_takes_no_more_of_them_and_goes_on_when_mended(
    nodes: list[Object], stack: ClusterStack
) -> None:
    stack.configure(kubernetes={"spread": "hosts"})
    stack.runner.up()
    before, names = uids(stack, ENSEMBLE), stack.names()
    for node in nodes:
        cordon(stack.cluster, node, on=True)
    larger = {"zookeeper": {"heap_mb": 256}}
    stack.configure(kubernetes={"spread": "hosts", "ready_timeout_s": 6}, cluster=larger)

    with pytest.raises(ResourceFailedError) as failure:
        stack.runner.up()

    assert failure.value.resource == ENSEMBLE
    text = str(failure.value)
    assert f"expected StatefulSet {stack.namespace}/{ENSEMBLE} to be ready within 6 s" in text
    assert "saw: 2 of 3 pods are ready" in text
    assert "Unschedulable" in text
    assert "mend the cause and update again" in text
    assert "Traceback" not in text
    assert stack.names() == names
    # One is away, as its budget allows; the others are a quorum, and as they were.
    serving = {name: uid for name, uid in uids(stack, ENSEMBLE).items() if uid == before[name]}
    assert len(serving) == 2
    assert sum(map(is_ready, stack.pods(ENSEMBLE))) == 2

    for node in nodes:
        cordon(stack.cluster, node, on=False)
    stack.configure(kubernetes={"spread": "hosts"}, cluster=larger)
    stack.runner.up()
    status = stack.get(*STATEFUL_SET, ENSEMBLE)["status"]
    assert status["updateRevision"] == status["currentRevision"]
    assert status["readyReplicas"] == 3
    assert not before.items() & uids(stack, ENSEMBLE).items()
    assert stack.runner.preview().changes == ()


@pytest.mark.timeout(_BOUND_S)
def test_a_removal_that_is_refused_leaves_what_it_could_not_remove_whole_and_is_ended_later(
    stack: ClusterStack, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.configure(kubernetes={"spread": "hosts"})
    stack.runner.up()
    before = belongings(stack)
    monkeypatch.setenv(APPLIES, str(rights.without_removal_of_stateful_sets(plane, stack)))

    with pytest.raises(ResourceFailedError) as failure:
        stack.runner.destroy()

    assert_refused(failure.value)
    after = belongings(stack)
    # All that holds state, and each with all that it had.
    assert {ENSEMBLE, "blue-masters"} <= after.keys()
    assert after == {name: before[name] for name in after}

    monkeypatch.setenv(APPLIES, str(plane.admin))
    stack.runner.destroy()
    for namespace in (stack.namespace, stack.agents_namespace):
        assert stack.cluster.get("v1", "Namespace", namespace) is None
    assert stack.runner.actual() is None


def belongings(stack: ClusterStack) -> dict[str, set[str]]:
    """Of each StatefulSet, everything that is there for it, and its ready pods."""
    objects = stack.objects()
    found: dict[str, set[str]] = {}
    for each in objects:
        if each["kind"] == "StatefulSet":
            name = each["metadata"]["name"]
            own = {
                f"{one['kind']} {one['metadata']['name']}" for one in objects if is_of(name, one)
            }
            pods = {f"pod {pod['metadata']['uid']}" for pod in stack.pods(name) if is_ready(pod)}
            found[name] = own | pods
    return found


def is_of(workload: str, one: Object) -> bool:
    return part(one, "metadata", "labels").get("app.kubernetes.io/name") == workload


def assert_refused(error: ResourceFailedError) -> None:
    """It says what was to be done, what was seen instead, and what to do."""
    text = str(error)
    assert "expected the API server to delete StatefulSet" in text
    assert "saw Forbidden: statefulsets.apps" in text
    assert f'User "{rights.USER}" cannot delete resource "statefulsets"' in text
    assert text.endswith("What was done stays: give this user that right, and update again")
    assert "Traceback" not in text
