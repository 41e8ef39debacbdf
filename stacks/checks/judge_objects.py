"""What the API server tells of pods, copies and what fills Secrets, compared with what is declared.
Pure: objects are JSON documents, as the API has them.

An update of the stack holds objects to what is declared; these judgements are about what came of
them: pods as admission let them in, copies that a driver has made, Secrets that an operator fills.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from components.monitoring.shipping import PASSWORD_VARIABLE
from components.network.policies import CARETAKERS
from controllers.caretaker.copies import RETRY_S, Copy
from stacks.checks.declared_objects import WantedObjects
from stacks.checks.judge import evidence
from stacks.migration.evidence import Evidence

Object = Mapping[str, Any]
PART_OF = {"app.kubernetes.io/part-of": "mesos-platform"}
"""Label of all pods, claims and copies of this platform."""
_COMPONENT, _WORKLOAD = "app.kubernetes.io/component", "app.kubernetes.io/name"
TOLD_BY = "the API server"
# A copy that is due is made, and has to become ready: one interval late is not one that is missing.
_LATE = 2.0


def hardening(wanted: WantedObjects, pods: Sequence[Object]) -> Evidence:
    """Pods run as strictly as they are declared: those beside agents by what agents cannot do
    without, all others by everything. What another operator makes is that operator's."""
    own = [pod for pod in pods if _component(pod) not in wanted.foreign]
    problems = [] if own else [f"no pod of this platform in {wanted.namespace}"]
    for pod in own:
        strict = pod["metadata"]["namespace"] == wanted.namespace
        problems += [f"{_name(pod)}: {one}" for one in _softer(pod, strict=strict)]
    said = f"{len(own)} pods run as strictly as they are declared"
    return evidence("hardening", problems, said, {"pods": len(own)}, TOLD_BY)


def _softer(pod: Object, *, strict: bool) -> Iterator[str]:
    """What a pod may do that it was not declared to."""
    spec: Object = pod["spec"]
    tokens = [one for one in spec.get("volumes") or () if _has_token(one)]
    if tokens and _component(pod) != CARETAKERS:
        yield "has a token of the API"
    if spec.get("enableServiceLinks", True):
        yield "has addresses of services among its variables"
    for container in (*spec["containers"], *(spec.get("initContainers") or ())):
        yield from _softer_container(container, strict=strict)
    if not strict:
        return
    context = part(spec, "securityContext")
    if context.get("runAsNonRoot") is not True:
        yield "may run as root"
    if part(context, "seccompProfile").get("type") != "RuntimeDefault":
        yield "has no profile of seccomp"
    shared = [one for one in ("hostNetwork", "hostPID", "hostIPC") if spec.get(one)]
    if shared:
        yield f"shares {', '.join(shared)} with its node"
    if any("hostPath" in volume for volume in spec.get("volumes") or ()):
        yield "has a folder of its node"


def _softer_container(container: Object, *, strict: bool) -> Iterator[str]:
    name, context = container["name"], part(container, "securityContext")
    if context.get("readOnlyRootFilesystem") is not True:
        yield f"{name} may write to its root"
    if not strict:
        return
    if context.get("privileged") or context.get("allowPrivilegeEscalation") is not False:
        yield f"{name} may have more privileges than it began with"
    capabilities = part(context, "capabilities")
    if "ALL" not in (capabilities.get("drop") or ()) or capabilities.get("add"):
        yield f"{name} keeps capabilities"
    if not part(container, "resources", "limits").get("memory"):
        yield f"{name} has no bound of memory"


def secrets(
    wanted: WantedObjects, pods: Sequence[Object], filled: Sequence[Object] | None
) -> Evidence:
    """Pods see the keys of Secrets that they were given, as files; and what fills Secrets has
    filled them. `filled` are its objects, None where somebody else fills them. No Secret is read.
    """
    own = [pod for pod in pods if _component(pod) not in wanted.foreign]
    problems = [f"{_name(pod)}: {one}" for pod in own for one in _more_secrets(pod)]
    said = f"{len(own)} pods see the keys that they were given"
    if filled is not None:
        problems += [] if filled else ["nothing there fills the Secrets: run `pulumi up`"]
        problems += [
            f"{_name(one)} was not filled: {_why(one, 'Ready')}"
            for one in filled
            if not _holds(one, "Ready")
        ]
        said += f", {len(filled)} Secrets were filled"
    numbers = {"pods": len(own), "filled": None if filled is None else len(filled)}
    return evidence("secrets", problems, said, numbers, TOLD_BY)


def _more_secrets(pod: Object) -> Iterator[str]:
    spec: Object = pod["spec"]
    for volume in spec.get("volumes") or ():
        secret: Object | None = volume.get("secret")
        if secret is not None and not secret.get("items"):
            yield f"sees every key of {secret['secretName']}"
    for container in (*spec["containers"], *(spec.get("initContainers") or ())):
        names = [
            one["name"]
            for one in container.get("env") or ()
            if "secretKeyRef" in part(one, "valueFrom") and one["name"] != PASSWORD_VARIABLE
        ]
        names += [one["secretRef"]["name"] for one in container.get("envFrom") or ()
                  if "secretRef" in one]  # fmt: skip
        if names:
            yield f"{container['name']} has secrets among its variables: {', '.join(names)}"


def copies(
    wanted: WantedObjects, claims: Sequence[Object], found: Sequence[Copy], now: float
) -> Evidence:
    """Each volume that is to be copied has a copy that is young enough. One that has just come
    need not have any."""
    assert wanted.copies_every_s is not None
    old_s = _LATE * wanted.copies_every_s + RETRY_S
    problems: list[str] = []
    ages: dict[str, float | None] = {}
    for claim in claims:
        name = _name(claim)
        if _workload(claim) not in wanted.copied or _phase(claim) != "Bound":
            continue
        own = [copy for copy in found if copy.claim == name]
        newest = max((copy.made_at for copy in own if copy.is_ready), default=None)
        ages[name] = None if newest is None else now - newest
        since = newest if newest is not None else _made_at(claim)
        if now - since > old_s:
            last = "no copy" if newest is None else f"no copy for {(now - newest) / 3600:.1f} h"
            errors = [copy.error for copy in own if copy.error]
            problems.append(f"{name} has {last}" + (f": {errors[-1]}" if errors else ""))
    without = wanted.copied - {_workload(claim) for claim in claims}
    problems += [f"{name} has no volume" for name in sorted(without)]
    said = f"{len(ages)} volumes have copies of the last {old_s / 3600:g} h"
    return evidence("copies", problems, said, {"age_s": ages}, TOLD_BY)


def logs(wanted: WantedObjects, pods: Sequence[Object]) -> Evidence:
    """Elasticsearch, who reads logs on nodes, and who keeps Elasticsearch's settings are ready. The
    keeper is where its last look found, or put, each of them."""
    problems: list[str] = []
    numbers: dict[str, int] = {}
    for component in wanted.logs:
        own = [pod for pod in pods if _component(pod) == component]
        ready = [pod for pod in own if _holds(pod, "Ready")]
        numbers[component] = len(ready)
        if not own:
            problems.append(f"no pod of {component}")
        problems += [
            f"{_name(pod)} is not ready: {_why(pod, 'Ready')}" for pod in own if pod not in ready
        ]
    said = ", ".join(f"{number} of {component}" for component, number in numbers.items())
    return evidence("logs", problems, f"ready are {said}", numbers, TOLD_BY)


def probe(agents: Object | None, watchers: Object | None) -> Evidence:
    """Each node that the probe is declared for has an agent that lives, which is what its own
    status says when its node asks; and as many watch the cluster as are declared. The DaemonSet
    and the Deployment are None where there is none."""
    problems: list[str] = []
    numbers: dict[str, Any] = {}
    for what, of, wanted, there in (
        ("nodes with an agent", agents, "desiredNumberScheduled", "numberReady"),
        ("watchers", watchers, "replicas", "readyReplicas"),
    ):
        if of is None:
            problems.append(f"there are no {what}: run `pulumi up`")
            continue
        status = part(of, "status")
        # A Deployment says how many it has; how many it should have is declared.
        most = int((of["spec"] if wanted == "replicas" else status).get(wanted) or 0)
        ready = int(status.get(there) or 0)
        numbers[what] = {"declared": most, "ready": ready}
        if ready < most or not most:
            problems.append(f"{ready} of {most} {what} are ready: look at the pods of {_name(of)}")
    said = ", ".join(f"{one['ready']} {what}" for what, one in numbers.items())
    return evidence("probe", problems, f"ready are {said}", numbers, TOLD_BY)


def part(of: Object, *names: str) -> Object:
    """A part of a document by the names on the way to it; empty where there is none."""
    for name in names:
        of = of.get(name) or {}
    return of


def _has_token(volume: Object) -> bool:
    sources: Sequence[Object] = part(volume, "projected").get("sources") or ()
    return any("serviceAccountToken" in source for source in sources)


def _name(of: Object) -> str:
    return str(of["metadata"]["name"])


def _component(of: Object) -> str | None:
    return part(of, "metadata", "labels").get(_COMPONENT)


def _workload(of: Object) -> str | None:
    return part(of, "metadata", "labels").get(_WORKLOAD)


def _phase(of: Object) -> str | None:
    return part(of, "status").get("phase")


def _made_at(of: Object) -> float:
    return datetime.fromisoformat(of["metadata"]["creationTimestamp"]).timestamp()


def _condition(of: Object, kind: str) -> Object:
    conditions: Sequence[Object] = part(of, "status").get("conditions") or ()
    found = [one for one in conditions if one["type"] == kind]
    return found[0] if found else {}


def _holds(of: Object, kind: str) -> bool:
    return _condition(of, kind).get("status") == "True"


def _why(of: Object, kind: str) -> str:
    found = _condition(of, kind)
    return str(found.get("message") or found.get("reason") or "it does not say why")
