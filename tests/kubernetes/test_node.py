"""A cluster that really runs: our images as pods of a real node, migrated with real guards.

That it serves is in `make test` where the node is built; the ways of a migration take many minutes:
`make test-long` or `make robustness`, and `make test-kubernetes`, which runs all.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from components.network.cni import CONFIG_FLAG, PLUGINS_FLAG, known
from components.targets.pods import SECRETS_DIR
from components.workload import Secret
from stacks.migration.journal import Kind, Outcome
from stacks.migration.phases import OPENING_GUARDS
from stacks.migration.service import MigrationService
from stacks.topology import Position
from tests.kubernetes import caretaking, node_stack
from tests.kubernetes.accounts import token_of
from tests.kubernetes.node import Node
from tests.kubernetes.node_stack import within
from tests.kubernetes.sandbox_init import ADDRESS
from tests.kubernetes.stack import ClusterStack, is_ready
from tests.providers.cluster.api import Object
from tests.providers.cluster.errors import RefusedError
from tests.waiting import block_until

# One node at a time: pods have a small share of processors beside those of another.
pytestmark = pytest.mark.turns

# Two minutes on an idle machine; several times that beside other work.
_BOUND_S = 1500
_WALK_S_MAX = 3000
_MIGRATION_S_MAX = 900.0
_COMMAND_S_MAX = 120.0
_EQUAL_S_MAX = 60.0
_WRITE = (
    "from kazoo.client import KazooClient; "
    "client = KazooClient('{host}'); client.start(30); client.create('/mesos/intruder')"
)
ACCOUNT = Path("/run/secrets/kubernetes.io/serviceaccount")
ENSEMBLE = tuple(f"blue-zookeeper-{index}" for index in range(3))


@pytest.fixture
def stack(
    request: pytest.FixtureRequest, node: Node, project: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ClusterStack]:
    """A stack at phase 0 whose pods run; a parameter is more of its configuration."""
    networks: Object = {"bridges": {"web": {}}, "overlays": {"mesos": {"nodes": {0: ADDRESS}}}}
    more: Object = getattr(request, "param", {})
    wanted = {
        "kubernetes": more,
        "cluster": {"framework": {"tasks": 2}, "agents": {"count": 1}, "networks": networks},
        "services": {"edge": {"replicas": 1, "image": node.images.names["edge"]}},
    }
    with node_stack.running(node, project, monkeypatch, wanted) as made:
        yield made


@pytest.mark.timeout(_BOUND_S)
def test_a_cluster_serves_as_real_pods_that_can_do_nothing_else(
    node: Node, stack: ClusterStack
) -> None:
    assert_serving(node, stack)
    assert_networked(node, stack)
    assert_leading_to_apps(node, stack)
    assert_confined(node, stack)
    assert_kept_out(node, stack)
    assert_agents_found(node, stack)


@pytest.mark.robustness
@pytest.mark.timeout(_BOUND_S)
@pytest.mark.parametrize("stack", [{"zookeeper_acl": True}], indirect=True)
def test_caretakers_look_after_real_pods(node: Node, stack: ClusterStack) -> None:
    assert_serving(node, stack)
    assert_strangers_write_nothing(node, stack)
    # One update for both: it takes minutes until masters have gone one after the other.
    begun = caretaking.begin(node, stack)
    caretaking.assert_masters_replaced(node, stack, begun)
    caretaking.assert_unfit_node_refused(node, stack)
    caretaking.assert_mended(stack)


_MIGRATED = pytest.mark.parametrize("stack", [{"tls": {}, "zookeeper_acl": True}], indirect=True)


@pytest.mark.timeout(_WALK_S_MAX)
@_MIGRATED
def test_a_cluster_of_real_pods_is_migrated_with_real_guards(
    node: Node, stack: ClusterStack
) -> None:
    before = uids(stack, "blue-zookeeper")

    for phase in (1, 2):
        migrate(node, stack, "start", phase)

    assert_migrated(node, stack, before)


@pytest.mark.robustness
@pytest.mark.timeout(_WALK_S_MAX)
@_MIGRATED
def test_masters_as_real_pods_change_sides_and_come_back(node: Node, stack: ClusterStack) -> None:
    give_identity(node, stack)
    before = uids(stack, "blue-zookeeper")
    for phase in (1, 2):
        migrate(node, stack, "start", phase)
    masters = uids(stack, "blue-masters")
    led, kept = claims(stack, "green-masters"), claims(stack, "green-zookeeper")

    # The source's masters are restarted, and its leader is deposed.
    migrate(node, stack, "start", 3)
    assert not stack.pods("blue-masters")
    # The target's forget the agents that they led.
    migrate(node, stack, "rollback", 2)

    assert_migrated(node, stack, before, [["blue", "green"], ["green"]])
    assert not masters & uids(stack, "blue-masters")
    assert not led & claims(stack, "green-masters")
    assert claims(stack, "green-zookeeper") == kept


def assert_migrated(
    node: Node, stack: ClusterStack, before: set[str], restarts: Sequence[Sequence[str]] = ()
) -> None:
    """Both clusters serve, nothing is lost, and what serves was not touched on the way."""
    assert_guarded(stack, restarts)
    assert_nothing_lost(node, stack)
    assert uids(stack, "blue-zookeeper") == before
    for tier in ("blue-masters", "green-zookeeper", "green-masters", "sync-engine"):
        assert all(map(is_ready, stack.pods(tier)))


def uids(stack: ClusterStack, workload: str) -> set[str]:
    """Which pods a workload has."""
    return {pod["metadata"]["uid"] for pod in stack.pods(workload)}


def claims(stack: ClusterStack, workload: str) -> set[str]:
    """Which claims a workload has."""
    wanted = f"app.kubernetes.io/name={workload}"
    found = stack.cluster.list("v1", "PersistentVolumeClaim", stack.namespace, selector=wanted)
    return {claim["metadata"]["uid"] for claim in found}


def give_identity(node: Node, stack: ClusterStack) -> None:
    """Give whoever migrates what a pod of its account has."""
    token = token_of(node.plane, stack.namespace, "migration").decode()
    authority = node.plane.authority.own.cert.read_text()
    node.place_secrets(ACCOUNT, {"token": token, "ca.crt": authority})


def assert_serving(node: Node, stack: ClusterStack) -> None:
    """Three servers are one ensemble, found by their names and by the address of their service."""
    ask = "exec 3<>/dev/tcp/{}/2181 && echo srvr >&3 && cat <&3"
    modes: list[str] = []
    for pod in ENSEMBLE:
        name = f"{pod}.blue-zookeeper.{stack.namespace}.svc"
        code, said = within(node, stack, ENSEMBLE[0], ask.format(name))
        assert code == 0, said
        modes += [line for line in said.splitlines() if line.startswith("Mode: ")]
    assert sorted(modes) == ["Mode: follower", "Mode: follower", "Mode: leader"]
    service = stack.get("v1", "Service", "blue-zookeeper-client")["spec"]["clusterIP"]
    code, said = within(node, stack, ENSEMBLE[0], ask.format(service))
    assert code == 0, said
    assert "Mode: " in said


def assert_networked(node: Node, stack: ClusterStack) -> None:
    """What stands in front of an agent has put networks on its node: a container is attached by
    what it put there, as an agent would."""
    (agent,) = stack.pods("blue-agents")
    assert is_ready(agent)
    text = stack.get("v1", "ConfigMap", "blue-agents")["data"]["blue-agents-0.json"]
    flags = json.loads(text)["flags"]
    assert known(flags) == {"web", "mesos"}
    container = stack.namespace
    node.sandbox.run(["ip", "netns", "add", container], timeout_s=_COMMAND_S_MAX)
    given = {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": container,
        "CNI_NETNS": f"/run/netns/{container}",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": flags[PLUGINS_FLAG],
    }
    words = ["env", *(f"{name}={value}" for name, value in given.items())]
    config = node.sandbox.outside(Path(flags[CONFIG_FLAG])) / "mesos.conf"
    plugin = f"{flags[PLUGINS_FLAG]}/bridge"
    told = json.loads(
        node.sandbox.run([*words, plugin], timeout_s=_COMMAND_S_MAX, text=config.read_text())
    )
    # The first part is that of the node with the first number.
    assert told["ip4"]["ip"].startswith("10.200.0.")
    show = ["ip", "-details", "link", "show", "vx4711"]
    assert "vxlan id 4711" in node.sandbox.run(show, timeout_s=_COMMAND_S_MAX)


def assert_leading_to_apps(node: Node, stack: ClusterStack) -> None:
    """HAProxy runs without rights on a root that nobody writes to, and tells what it runs with."""
    admin = f"edge-external-0.edge-external.{stack.namespace}.svc/9090"
    request = r"GET /configuration-digest HTTP/1.0\r\n\r\n"
    ask = f"exec 3<>/dev/tcp/{admin} && printf '{request}' >&3 && cat <&3"
    code, said = within(node, stack, ENSEMBLE[0], ask)
    assert code == 0, said
    assert " 200 " in said.splitlines()[0]
    refused(node, stack, "edge-external-0", "touch /intruder", "Read-only file system")


def assert_confined(node: Node, stack: ClusterStack) -> None:
    """A pod can neither change its programs, nor gain a right, nor read what is another's."""
    for pod in (ENSEMBLE[0], "blue-masters-0"):
        refused(node, stack, pod, "touch /intruder", "Read-only file system")
        refused(node, stack, pod, "echo : > /usr/bin/bash", "Read-only file system")
        refused(node, stack, pod, "mknod /tmp/null c 1 3", "Operation not permitted")
        refused(node, stack, pod, "touch /tmp/mine && chown 0 /tmp/mine", "Operation not permitted")
        code, said = within(node, stack, pod, "cat /proc/self/status")
        assert code == 0
        status = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
        held = {status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        assert held == {"0" * 16}
        assert status["NoNewPrivs"].strip() == "1"
        # 2: by a filter.
        assert status["Seccomp"].strip() == "2"
        assert "0" not in status["Uid"].split()
        refused(node, stack, pod, "ls /var/run/secrets/kubernetes.io", "No such file")
    code, said = within(node, stack, ENSEMBLE[0], f"ls {SECRETS_DIR}")
    assert (code, said.split()) == (0, [str(Secret.ZOOKEEPER_SUPER)])
    neighbours = f"cat {SECRETS_DIR}/{Secret.MESOS_OPERATOR}"
    refused(node, stack, ENSEMBLE[0], neighbours, "No such file")


def assert_strangers_write_nothing(node: Node, stack: ClusterStack) -> None:
    """Who reaches the ensemble writes nothing where masters do without saying who it is."""
    write = _WRITE.format(host=f"{ENSEMBLE[0]}.blue-zookeeper.{stack.namespace}.svc:2181")
    refused(node, stack, "blue-masters-0", f'python -c "{write}"', "NoAuthError")


def refused(node: Node, stack: ClusterStack, pod: str, command: str, expected: str) -> None:
    """A command in a pod fails, for the reason expected."""
    code, said = within(node, stack, pod, command)
    assert code != 0, f"{pod} may {command}"
    assert expected in said


def assert_kept_out(node: Node, stack: ClusterStack) -> None:
    """Whoever may make pods in the namespace gets none that could do more."""
    host = {"name": "node", "hostPath": {"path": "/var/lib/kubelet/pods"}}
    gained = {"capabilities": {"add": ["SYS_ADMIN"], "drop": ["ALL"]}}
    for wanted in (
        pod_like(stack, spec={"volumes": [host]}),
        pod_like(stack, spec={"hostPID": True}),
        pod_like(stack, rights=gained),
    ):
        with pytest.raises(RefusedError, match='violates PodSecurity "restricted'):
            stack.cluster.create(wanted)
    account = f"--as=system:serviceaccount:{stack.namespace}:default"
    asked = node.kubectl("auth", "can-i", "get", "secrets", account, "-n", stack.namespace)
    assert asked.stdout.strip() == "no"


def pod_like(
    stack: ClusterStack, *, spec: Object | None = None, rights: Object | None = None
) -> Object:
    """A pod of the ensemble, changed in its specification or in its container's rights."""
    model: Object = stack.pods("blue-zookeeper")[0]["spec"]
    container: Object = {**model["containers"][0], "volumeMounts": []}
    container["securityContext"] = {**container["securityContext"], **(rights or {})}
    common = {"containers": [container], "securityContext": model["securityContext"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "intruder", "namespace": stack.namespace},
        "spec": {**common, **(spec or {})},
    }


def assert_agents_found(node: Node, stack: ClusterStack) -> None:
    """Checks and guards know the agent by what it is declared with: its address is its node's."""
    address = f"{ADDRESS}:5051"
    given = [f"--stack={stack.runner.stack_name}", f"--project={stack.runner.project_dir}"]
    command = [sys.executable, "-m", "stacks.migration.cli", "check", "--json", *given]
    done = subprocess.run(
        node.sandbox.wrap(command), check=False, capture_output=True, text=True, timeout=120
    )
    # What does not hold for other reasons is told once more, as an error.
    told, _ = json.JSONDecoder().raw_decode(done.stdout)
    checks = {one["name"]: one for one in told["findings"]}
    for name in ("blue agents", "blue agents' flags", "networks"):
        assert checks[name]["ok"], checks[name]["said"]
    assert checks["blue agents"]["numbers"] == {"own": 1, "registered": 1}
    assert checks["blue agents' flags"]["numbers"] == {"told": 1}

    words = [stack.runner.stack_name, str(stack.runner.project_dir)]
    seen = json.loads(
        node.sandbox.run(
            [sys.executable, "-m", "tests.kubernetes.agents_seen", *words], timeout_s=_COMMAND_S_MAX
        )
    )
    guards = {name: one["ok"] for name, one in seen["guards"].items()}
    assert guards == {
        "nothing_in_motion": True,
        "registered_source_agents": True,
        "movers_known": True,
        # Its tasks run there, and nobody of the other colour has been seen.
        "source_agents_empty": False,
        "registered_target_agents": False,
        "room_on_target": False,
    }, seen["guards"]
    assert seen["guards"]["movers_known"]["numbers"] == {"sample": 2}
    assert seen["guards"]["source_agents_empty"]["numbers"]["agents"] == 1
    assert f"saw others: {address}" in seen["guards"]["room_on_target"]["said"]
    assert [one["address"] for one in seen["inventory"]["agents"]] == [address]
    (limits,) = seen["limits"]
    assert limits["said"].startswith("0 of 1 blue agents"), limits


def migrate(node: Node, stack: ClusterStack, verb: str, phase: int) -> None:
    """Walk to a phase from where the cluster's names and addresses hold."""
    host, _, port = node.plane.server.removeprefix("https://").rpartition(":")
    pod = [f"KUBERNETES_SERVICE_HOST={host}", f"KUBERNETES_SERVICE_PORT={port}"]
    verbs = ["stacks.migration.cli", verb, "--yes", f"--to={phase}"]
    command = ["env", *pod, sys.executable, "-m", *verbs]
    given = [f"--stack={stack.runner.stack_name}", f"--project={stack.runner.project_dir}"]
    try:
        node.sandbox.run([*command, *given], timeout_s=_MIGRATION_S_MAX)
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode()
        pytest.fail(f"no phase {phase} within {_MIGRATION_S_MAX} s: {said}")
    standing = stack.runner.actual()
    assert standing is not None
    assert standing.position == Position(phase)


def assert_guarded(stack: ClusterStack, restarts: Sequence[Sequence[str]]) -> None:
    """Every step ended well, guards and audits with numbers of their own.

    `restarts` has the colours of masters of which each transition that restarts some made sure.
    """
    service = MigrationService(stack.runner.project_dir, stack.runner.stack_name)
    ended = [record for record in service.history() if record.kind is Kind.STEP_ENDED]
    assert {record.outcome for record in ended} == {Outcome.OK}
    guards = [record for record in ended if record.name == OPENING_GUARDS]
    # Two transitions, and one for each that restarts masters.
    assert len(guards) == 2 + len(restarts)
    assert all(record.evidence for record in guards)
    # The engine's own word, after the first copy and wherever a guard wants it.
    (audit,) = [record for record in ended if record.name == "audit"]
    assert audit.evidence["audit"]["equal"]
    asked = [one for record in guards for one in record.evidence["findings"]]
    assert [one["ok"] for one in asked if one["name"] == "audit"] == [True] * (1 + len(restarts))
    found = [one for one in asked if one["name"] == "restarts"]
    assert [sorted(one["numbers"]) for one in found] == [*restarts]


def assert_nothing_lost(node: Node, stack: ClusterStack) -> None:
    """Every write that clients were told of is in both ensembles, with its ACL, and nothing else.

    They are stopped in their tracks meanwhile: the two would differ by what is on its way.
    """
    (log,) = node.volumes.rglob("acks.jsonl")
    words = [sys.executable, "-m", "stacks.local.traffic", "verify", f"--log={log}"]
    words += [f"--auth-file={SECRETS_DIR}/{Secret.ZOOKEEPER_SUPER}", "--root=/apps/traffic"]
    outputs = stack.runner.outputs()
    traffic = node.process_of("stacks.local.traffic --config")
    os.kill(traffic, signal.SIGSTOP)
    try:
        for color in ("blue", "green"):
            command = node.sandbox.wrap([*words, f"--hosts={outputs[f'{color}_zookeeper']}"])

            def holds(command: list[str] = command) -> bool:
                done = subprocess.run(command, check=False, stdout=subprocess.PIPE, timeout=120)
                report = json.loads(done.stdout)
                assert report["acknowledged"] > 0
                return report["ok"]

            block_until(holds, f"every acknowledged write in {color}", _EQUAL_S_MAX)
    finally:
        os.kill(traffic, signal.SIGCONT)
