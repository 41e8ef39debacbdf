"""What is said of pods, copies and Secrets as the API server tells of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from controllers.caretaker.copies import Copy
from stacks.checks import judge_objects as judge
from stacks.checks.declared_objects import WantedObjects
from stacks.migration.evidence import Evidence

Json = dict[str, Any]
WANTED = WantedObjects("mesos", "mesos-agents")
HOUR_S = 3600.0
NOW = 1_000_000.0
READY = {"conditions": [{"type": "Ready", "status": "True"}]}


def pod(name: str = "blue-masters-0", component: str = "masters", **metadata: str) -> Json:
    """As the API server has it when it was declared and let in unchanged."""
    container = {
        "name": component,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"limits": {"memory": "512Mi"}},
        "env": [{"name": "MEMBER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
    }
    labels = {"app.kubernetes.io/component": component}
    secret = {"secretName": "mesos-platform", "items": [{"key": "a", "path": "a"}]}
    return {
        "metadata": {"name": name, "namespace": "mesos", "labels": labels, **metadata},
        "spec": {
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "secrets", "secret": secret}],
        },
        "status": READY,
    }


def token() -> Json:
    sources = [{"serviceAccountToken": {"path": "token"}}]
    return {"name": "kube-api-access-x", "projected": {"sources": sources}}


def changed(change: Callable[[Json], object], of: Json | None = None) -> Json:
    found = copy.deepcopy(of or pod())
    change(found["spec"])
    return found


def first(spec: Json) -> Json:
    return spec["containers"][0]


def test_pods_as_they_were_declared_are_hardened() -> None:
    caretaker = changed(
        lambda spec: spec["volumes"].append(token()), pod("blue-masters-caretaker-x", "caretakers")
    )

    found = judge.hardening(WANTED, [pod(), caretaker])

    assert found.ok, found.said
    assert found.said == "2 pods run as strictly as they are declared"


SOFTER: dict[str, Callable[[Json], object]] = {
    "has a token of the API": lambda s: s["volumes"].append(token()),
    "has addresses of services among its variables": lambda s: s.pop("enableServiceLinks"),
    "may run as root": lambda s: s["securityContext"].pop("runAsNonRoot"),
    "has no profile of seccomp": lambda s: s["securityContext"].pop("seccompProfile"),
    "shares hostPID with its node": lambda s: s.update(hostPID=True),
    "has a folder of its node": lambda s: s["volumes"].append({"hostPath": {"path": "/"}}),
    "masters may write to its root": lambda s: first(s)["securityContext"].pop(
        "readOnlyRootFilesystem"
    ),
    "masters may have more privileges than it began with": lambda s: first(s)[
        "securityContext"
    ].update(privileged=True),
    "masters keeps capabilities": lambda s: first(s)["securityContext"]["capabilities"].update(
        add=["SYS_ADMIN"]
    ),
    "masters has no bound of memory": lambda s: first(s).pop("resources"),
    # As somebody's admission adds them.
    "proxy may write to its root": lambda s: s["containers"].append({"name": "proxy"}),
    "i keeps capabilities": lambda s: s.update(initContainers=[{"name": "i"}]),
}


@pytest.mark.parametrize("said", SOFTER)
def test_a_pod_that_may_do_more_than_was_declared_is_named(said: str) -> None:
    found = judge.hardening(WANTED, [pod(), changed(SOFTER[said])])

    assert not found.ok
    assert f"blue-masters-0: {said}" in found.said


def test_agents_may_do_what_agents_cannot_do_without_and_no_more() -> None:
    def as_agents_are(spec: Json) -> None:
        spec.update(hostNetwork=True, hostPID=True, securityContext={})
        first(spec)["securityContext"] = {"privileged": True, "readOnlyRootFilesystem": True}

    agent = changed(as_agents_are, pod("blue-agents-x", "agents", namespace="mesos-agents"))

    assert judge.hardening(WANTED, [agent]).ok
    with_token = changed(lambda spec: spec["volumes"].append(token()), agent)
    assert judge.hardening(WANTED, [with_token]).said == "blue-agents-x: has a token of the API"


def test_what_another_operator_makes_is_that_operator_s_and_no_pod_at_all_is_no_agreement() -> None:
    theirs = pod("logs-es-default-0", "logs")
    soft = changed(lambda spec: spec.clear() or spec.update(containers=[]), theirs)
    wanted = WantedObjects("mesos", "mesos-agents", foreign=frozenset({"logs"}))

    assert judge.hardening(wanted, [pod(), soft]).ok
    assert judge.hardening(wanted, [soft]).said == "no pod of this platform in mesos"


def test_pods_see_the_keys_that_they_were_given_and_secrets_are_filled() -> None:
    filled = {"metadata": {"name": "mesos-platform"}, "status": READY}

    found = judge.secrets(WANTED, [pod()], [filled])

    assert found.ok
    assert found.said == "1 pods see the keys that they were given, 1 Secrets were filled"
    assert judge.secrets(WANTED, [pod()], None).ok
    # Filebeat takes its password from nowhere else.
    variable = {"name": "LOGS_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "l", "key": "e"}}}
    shipper = changed(lambda spec: first(spec)["env"].append(variable), pod("f", "shippers"))
    assert judge.secrets(WANTED, [shipper], None).ok


def test_secrets_that_were_not_filled_and_pods_that_see_more_are_named() -> None:
    reason = {"type": "Ready", "status": "False", "message": "could not get secret data"}
    failed = {"metadata": {"name": "mesos-platform"}, "status": {"conditions": [reason]}}
    everything = changed(lambda spec: spec["volumes"][0]["secret"].pop("items"))
    variable = {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    by_name = changed(lambda spec: first(spec)["env"].append(variable))
    whole = changed(lambda spec: first(spec).update(envFrom=[{"secretRef": {"name": "s"}}]))

    def said(*pods: Json, filled: list[Json] | None = None) -> str:
        found = judge.secrets(WANTED, pods, filled)
        assert not found.ok
        return found.said

    assert said(pod(), filled=[failed]) == (
        "mesos-platform was not filled: could not get secret data"
    )
    assert said(pod(), filled=[]) == "nothing there fills the Secrets: run `pulumi up`"
    assert said(everything) == "blue-masters-0: sees every key of mesos-platform"
    assert said(by_name) == "blue-masters-0: masters has secrets among its variables: PASSWORD"
    assert said(whole) == "blue-masters-0: masters has secrets among its variables: s"


def claim(name: str, workload: str, *, age_h: float = 1000.0, phase: str = "Bound") -> Json:
    made = datetime.fromtimestamp(NOW - age_h * HOUR_S, UTC).isoformat()
    labels = {"app.kubernetes.io/name": workload}
    metadata = {"name": name, "labels": labels, "creationTimestamp": made}
    return {"metadata": metadata, "status": {"phase": phase}}


def made(claim: str, age_h: float, *, ready: bool = True, error: str | None = None) -> Copy:
    return Copy(f"{claim}-{age_h}", claim, NOW - age_h * HOUR_S, ready, error)


def copies(claims: list[Json], *found: Copy) -> Evidence:
    wanted = WantedObjects(
        "mesos",
        "mesos-agents",
        copied=frozenset({"blue-zookeeper"}),
        copies_every_s=6 * HOUR_S,
    )
    return judge.copies(wanted, claims, found, NOW)


def test_each_volume_has_a_copy_that_is_young_enough() -> None:
    one = claim("state-blue-zookeeper-0", "blue-zookeeper")
    name = one["metadata"]["name"]

    found = copies([one], made(name, 30), made(name, 5), made(name, 1, ready=False))

    assert found.ok
    assert found.said == "1 volumes have copies of the last 13 h"
    assert found.numbers == {"age_s": {name: 5 * HOUR_S}}
    # Nobody copies volumes of what has gone, or of others.
    assert copies([one, claim("x", "green-zookeeper")], made(name, 5)).ok
    assert copies([claim(name, "blue-zookeeper", age_h=1)]).ok


def test_a_volume_without_a_young_copy_is_named_with_why() -> None:
    one = claim("v", "blue-zookeeper")

    assert copies([one]).said == "v has no copy"
    assert copies([one], made("v", 30)).said == "v has no copy for 30.0 h"
    failed = copies([one], made("v", 30), made("v", 1, ready=False, error="no space"))
    assert failed.said == "v has no copy for 30.0 h: no space"
    # Of another volume.
    assert not copies([one], made("w", 1)).ok
    assert copies([]).said == "blue-zookeeper has no volume"


def test_logs_are_collected_while_all_that_it_takes_is_ready() -> None:
    wanted = WantedObjects("mesos", "mesos-agents", logs=("logs", "log-keeper", "shippers"))
    server, keeper, shipper = pod("l-0", "logs"), pod("k-0", "log-keeper"), pod("f-0", "shippers")

    assert judge.logs(wanted, [server, keeper, shipper]).ok
    message = "containers with unready status: [log-keeper]"
    condition = {"type": "Ready", "status": "False", "message": message}
    waits = {**keeper, "status": {"conditions": [condition]}}
    found = judge.logs(wanted, [server, waits])
    assert found.said == f"k-0 is not ready: {message}; no pod of shippers"


def of_probe(name: str, spec: Json, **status: int) -> Json:
    return {"metadata": {"name": name}, "spec": spec, "status": status}


def test_the_probe_lives_on_each_of_its_nodes_and_watches() -> None:
    agents = of_probe("probe-agent", {}, desiredNumberScheduled=3, numberReady=3)
    watchers = of_probe("probe-cluster", {"replicas": 2}, readyReplicas=2)

    assert judge.probe(agents, watchers).said == "ready are 3 nodes with an agent, 2 watchers"
    few = of_probe("probe-agent", {}, desiredNumberScheduled=3, numberReady=2)
    assert judge.probe(few, None).said == (
        "2 of 3 nodes with an agent are ready: look at the pods of probe-agent; "
        "there are no watchers: run `pulumi up`"
    )
    # No node was chosen: nobody looks at any.
    nowhere = of_probe("probe-agent", {}, desiredNumberScheduled=0, numberReady=0)
    assert not judge.probe(nowhere, watchers).ok
    gone = of_probe("probe-cluster", {"replicas": 2})
    assert "0 of 2 watchers are ready" in judge.probe(agents, gone).said
