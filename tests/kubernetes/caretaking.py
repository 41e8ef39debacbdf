"""Caretakers at work on the real node: they ask real masters who leads, evict real pods, and mend a
description that a node refuses once another one is there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from controllers.caretaker.cluster import MARK
from tests.kubernetes.node import Node
from tests.kubernetes.node_stack import within
from tests.kubernetes.stack import ClusterStack, is_ready
from tests.providers.cluster.api import Object, part
from tests.waiting import block_until

MASTERS = "blue-masters"
AGENTS = "blue-agents"
# Each of three pods is evicted, ends, starts, and is asked every 10 s whether it is ready.
_ROLL_S_MAX = 600.0
_PODS_S_MAX = 300.0
_LEADER = re.compile(r"^location: //([^.]+)\.", re.IGNORECASE | re.MULTILINE)
# No machine that runs tests has so many.
_CPUS = 100_000
_FIT = {"count": 1}
_UNFIT = {**_FIT, "cpus": _CPUS, "isolation": {"profile": "cgroups"}}


@dataclass(frozen=True)
class Begun:
    """What was there before: pods of masters by name, and who of them led."""

    masters: dict[str, str]
    leader: str


def begin(node: Node, stack: ClusterStack) -> Begun:
    """Change a flag of masters, and what agents offer to what no node has. The update leaves both
    kinds of pods alone: their caretakers replace them, and may do so before it has ended."""
    before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in stack.pods(MASTERS)}
    leader = block_until(lambda: leader_of(node, stack), "a leader", _PODS_S_MAX)
    flags = {"allocation_interval": "2secs"}
    stack.reconfigure("cluster", {"masters": {"flags": flags}, "agents": _UNFIT})
    stack.runner.up()
    return Begun(before, leader)


def assert_masters_replaced(node: Node, stack: ClusterStack, begun: Begun) -> None:
    """Every master's pod is another one in the end, and none that led has gone before the last."""
    old, leader = begun.masters, begun.leader
    assert len(old) == 3
    gone: list[tuple[str, str]] = []

    def is_over() -> bool:
        nonlocal leader
        pods = stack.pods(MASTERS)
        metadata = [pod["metadata"] for pod in pods]
        there = {one["uid"] for one in metadata if "deletionTimestamp" not in one}
        known = {name for name, _ in gone}
        gone.extend((name, leader) for name in sorted(old.keys() - known) if old[name] not in there)
        if len(gone) < len(old):
            # As it is before the next one goes: an election may be had for other reasons too.
            leader = leader_of(node, stack) or leader
            return False
        return len(pods) == len(old) and all(map(is_ready, pods))

    block_until(is_over, f"other pods of {MASTERS}", _ROLL_S_MAX)
    assert [name == led for name, led in gone] == [False, False, True], gone


def leader_of(node: Node, stack: ClusterStack) -> str | None:
    """Name of the pod that leads, as masters that are ready say; None while none does."""
    ask = (
        f"exec 3<>/dev/tcp/{MASTERS}-client.{stack.namespace}.svc/5050 && "
        r"printf 'GET /redirect HTTP/1.0\r\n\r\n' >&3 && cat <&3"
    )
    _, said = within(node, stack, "blue-zookeeper-0", ask)
    found = _LEADER.search(said)
    return found[1] if found else None


def assert_unfit_node_refused(node: Node, stack: ClusterStack) -> None:
    """The agent was drained, and the one that should take its place is not started: the look at
    the node in front of it says why."""

    def refusing() -> Object | None:
        for pod in stack.pods(AGENTS):
            for one in part(pod, "status").get("initContainerStatuses", ()):
                has_ended = one.get("restartCount") or part(one, "state", "terminated")
                if one["name"] == "node-check" and has_ended:
                    return pod
        return None

    pod = block_until(refusing, "a node check that fails", _PODS_S_MAX)
    assert not is_ready(pod)
    name = pod["metadata"]["name"]
    space = f"--namespace={stack.agents_namespace}"

    def is_shown() -> bool:
        # While it is tried again it looks like one that has not begun.
        shown = node.kubectl("get", "pod", space, name).stdout
        return re.search(r"Init:(Error|CrashLoopBackOff)", shown) is not None

    block_until(is_shown, "a pod that is shown as one that fails", _PODS_S_MAX)
    sentence = f"this node is not fit for its agent: expected {_CPUS} processors to offer, saw "

    def logged() -> str | None:
        # Between two tries the runtime may not have the log of either.
        said = node.kubectl("logs", space, name, "--container=node-check").stdout
        return said if sentence in said else None

    assert "lower `cpus` of the pool" in block_until(logged, "the reason in its log", _PODS_S_MAX)


def assert_mended(stack: ClusterStack) -> None:
    """With a description that fits, the next update ends, and the agent is offered again."""
    stack.reconfigure("cluster", {"agents": _FIT})
    stack.runner.up()
    (pod,) = stack.pods(AGENTS)
    assert is_ready(pod)

    def is_let_go() -> bool:
        found = stack.get("apps/v1", "DaemonSet", AGENTS)
        return MARK not in part(found, "metadata", "annotations")

    block_until(is_let_go, "the end of the agent's drain", _PODS_S_MAX)
    assert stack.runner.preview().changes == ()
