"""A stack whose pods run on the real node, with secrets that it holds nowhere itself."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from components.mesos.access import (
    AGENT_SECRET,
    MARATHON_SECRET,
    PROBE_SECRET,
    SAMPLE_SECRET,
    ZOOKEEPER,
)
from components.targets.pods import SECRETS_DIR, SECRETS_OBJECT
from components.workload import Secret
from stacks.topology import Placement, Position, Standing
from tests.kubernetes import stack as stack_module
from tests.kubernetes.node import NETWORK, Node
from tests.kubernetes.stack import ClusterStack
from tests.providers.kubernetes import APPLIES
from tests.waiting import block_until

_NAMESPACE_S_MAX = 240.0
_PREFIXES = {
    Secret.ZOOKEEPER_SUPER: "super:",
    Secret.MESOS_OPERATOR: "operator:",
    MARATHON_SECRET: "marathon:",
    SAMPLE_SECRET: "sample:",
    PROBE_SECRET: "probe:",
    AGENT_SECRET: "agent:",
}
# All that agents' pods want, and no more.
_OF_AGENTS = (AGENT_SECRET, ZOOKEEPER)
_SOURCE = {"traffic": Placement.SOURCE}
_CERTIFIED = ("blue-zookeeper", "green-zookeeper", "sync-engine")
# One a process, so that each is seen to hold what its process needs; nothing runs in `platform`.
_IMAGES = (
    "zookeeper",
    "mesos",
    "platform",
    "sync_engine",
    "caretaker",
    "framework",
    "traffic",
    "exporter",
    "registrator",
    "log_keeper",
    "marathon_stand_in",
    "networks",
)
Given = tuple[str, str, Mapping[str, str]]
"""A Secret: its namespace, its name, and its content."""


def values() -> dict[str, str]:
    """A secret of each kind that a stack may want."""
    found = {
        str(one): _PREFIXES.get(one, "") + secrets.token_hex(24) for one in {*Secret, *_PREFIXES}
    }
    return found | {ZOOKEEPER: f"mesos:{secrets.token_hex(24)}"}


@contextmanager
def running(
    node: Node,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    wanted: Mapping[str, Mapping[str, Any]],
    *,
    known: Mapping[str, str] | None = None,
    more: Sequence[tuple[str, str, Mapping[str, str]]] = (),
) -> Generator[ClusterStack]:
    """A stack at phase 0, of `wanted` configuration, whose secrets are `known`.

    `more` are Secrets that it wants besides, each in the namespace that is called like its own one
    with a suffix.
    """
    monkeypatch.setenv(APPLIES, str(node.plane.admin))
    known = known or values()
    with node.plane.cluster() as cluster:
        node.make_room(cluster)
        made = stack_module.make(project, cluster, f"test-{uuid.uuid4().hex[:8]}")
        made.configure(
            # One node cannot keep members apart.
            kubernetes={
                "images": {key: node.images.names[key.replace("_", "-")] for key in _IMAGES},
                "spread": "any",
                "node_networks": [NETWORK],
                **wanted.get("kubernetes", {}),
            },
            cluster=wanted.get("cluster"),
            services=wanted.get("services"),
            # Two processors have a control plane, a node and two clusters.
            bounds={"lag_p99_ms": 2000},
        )
        made.runner.set_migration(Standing(position=Position(0), groups=_SOURCE))
        given = [*_own(node, made, known), *((f"{made.namespace}{s}", n, v) for s, n, v in more)]
        with ThreadPoolExecutor(1) as beside:
            updating = beside.submit(made.runner.up)
            _give(made, given, updating)
            node.place_secrets(Path(SECRETS_DIR), known)
            updating.result()
        yield made
        # What it keeps ends with the node, or makes room for the next one.
        for namespace in {namespace for namespace, _, _ in given}:
            metadata = {"name": namespace}
            cluster.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


def within(node: Node, stack: ClusterStack, pod: str, command: str) -> tuple[int, str]:
    """Run a command of bash in a pod; returns how it ended and what it said."""
    done = node.kubectl("exec", f"--namespace={stack.namespace}", pod, "--", "bash", "-c", command)
    return done.returncode, f"{done.stdout}{done.stderr}"


def _own(node: Node, stack: ClusterStack, known: Mapping[str, str]) -> list[Given]:
    return [
        (stack.namespace, SECRETS_OBJECT, known),
        (stack.agents_namespace, SECRETS_OBJECT, {key: known[key] for key in _OF_AGENTS}),
        *((stack.namespace, f"{name}-tls", _certificate(node, stack, name)) for name in _CERTIFIED),
    ]


def _give(stack: ClusterStack, given: Sequence[Given], updating: Future[Any]) -> None:
    """Give a stack its secrets once it has namespaces for them, as somebody else does."""

    def is_there() -> bool:
        if updating.done():
            # Its own error tells more.
            updating.result()
            pytest.fail("the update ended well, and made no namespace")
        get = stack.cluster.get
        return all(get("v1", "Namespace", namespace) is not None for namespace, _, _ in given)

    block_until(is_there, "namespaces", _NAMESPACE_S_MAX)
    for namespace, name, content in given:
        metadata = {"name": name, "namespace": namespace}
        stack.cluster.create(
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": content}
        )


def _certificate(node: Node, stack: ClusterStack, name: str) -> dict[str, str]:
    """Files of one for all members of a workload, by the authority of the cluster."""
    members = tuple(f"DNS:{name}-{index}.{name}.{stack.namespace}.svc" for index in range(3))
    return certificate(node, f"{stack.namespace}-{name}", members)


def certificate(node: Node, name: str, names: tuple[str, ...]) -> dict[str, str]:
    """Files of a certificate, by the authority of the cluster."""
    pair = node.plane.authority.issue(name, names=names)
    files = {"tls.crt": pair.cert, "tls.key": pair.key, "ca.crt": node.plane.authority.own.cert}
    return {key: file.read_text() for key, file in files.items()}
