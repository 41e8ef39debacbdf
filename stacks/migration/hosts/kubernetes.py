"""Masters that are pods of a StatefulSet.

A restart evicts a pod and waits for its successor: eviction asks the disruption budget, which keeps
a quorum, and names the pod's uid, so that a successor is never taken for it. A reset goes by the
StatefulSet: no replicas, wait until no pod is left, delete the claims of its members, the declared
number of replicas again. While it has none, nothing can make a claim anew, and whoever comes after
a killed runner sees by that number alone that a reset was cut short.

What the stack's state says of the StatefulSet is held against what the server says: a client of
another cluster, where a stack of the same name may run, changes nothing there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

from clients.kubernetes import Access
from components.targets import restarting
from stacks import state
from stacks.migration.errors import ActFailedError
from stacks.migration.evidence import Evidence
from stacks.migration.updates import Tell
from stacks.migration.waiting import NotYetError, wait_until

Object = dict[str, Any]
T = TypeVar("T")
_TYPE = "kubernetes:apps/v1:StatefulSet"
_TOLD_MAX = 4


class Api(Protocol):
    """What is asked of an API server; `clients.kubernetes.KubernetesClient` is one."""

    async def get(self, path: str) -> Object | None:
        """The object at a path; None when there is none."""
        ...

    async def patch(self, path: str, change: Object) -> None:
        """Change fields of an object."""
        ...

    async def delete(self, path: str, *, uid: str | None = None) -> None:
        """Ask for an object's removal; another one of its name is left alone."""
        ...

    async def evict(self, namespace: str, pod: str, uid: str) -> bool:
        """Ask for a pod's removal; whether its budget allows it."""
        ...

    async def may(self, asked: Access) -> bool:
        """Whether the caller may do something."""
        ...


@dataclass(frozen=True)
class DeclaredSet:
    """A StatefulSet by the stack's state; `uid` is the server's for it, where the state has it."""

    name: str
    namespace: str
    replicas: int
    uid: str | None = None

    @classmethod
    def of(cls, deployment: Mapping[str, Any], name: str) -> Self:
        """Read one.

        Raises:
            ActFailedError: the state holds none of that name.
        """
        found = state.outputs_of(deployment, _TYPE, name)
        if found is None:
            msg = (
                f"expected the stack's state to hold a StatefulSet {name}, or a run folder of this "
                "machine, saw neither. Run `pulumi up`, then `migrate resume`"
            )
            raise ActFailedError(msg)
        metadata = found["metadata"]
        replicas = int(found["spec"]["replicas"])
        return cls(str(metadata["name"]), str(metadata["namespace"]), replicas, metadata.get("uid"))

    @property
    def pods(self) -> tuple[str, ...]:
        """Names of its pods."""
        return tuple(restarting.pod_of(self.name, index) for index in range(self.replicas))

    @property
    def claims(self) -> tuple[str, ...]:
        """Names of what its pods claim."""
        return tuple(restarting.claim_of(self.name, index) for index in range(self.replicas))

    def needed(self) -> Iterator[Access]:
        """Every call that is made for it."""
        for rule in restarting.rules({self.name: self.replicas}):
            for resource in rule.resources:
                for verb in rule.verbs:
                    for name in rule.names:
                        yield Access(verb, rule.group, resource, self.namespace, name)


class KubernetesMasters:
    """Pods of one StatefulSet; each wait for them ends after `ready_s`."""

    def __init__(self, api: Api, declared: DeclaredSet, *, ready_s: float) -> None:
        self._api = api
        self._declared = declared
        self._ready_s = ready_s
        space = f"namespaces/{declared.namespace}"
        self._set = f"/apis/apps/v1/{space}/statefulsets/{declared.name}"
        self._pods = f"/api/v1/{space}/pods"
        self._claims = f"/api/v1/{space}/persistentvolumeclaims"

    async def examine(self) -> Evidence:
        """Whether it is the stack's, all of its pods serve, and we may do all that it takes."""
        declared = self._declared
        # First what may be done: without it the rest cannot be asked.
        needed = tuple(declared.needed())
        problems = [f"may not {one}" for one in needed if not await self._api.may(one)]
        if not problems:
            live = await self._live()
            serving = _part(live, "status").get("readyReplicas", 0)
            if not _is_seen(live) or serving != declared.replicas:
                problems.append(f"{serving} of {declared.replicas} pods are ready")
        said = f"{declared.replicas} pods of {declared.name} can be restarted and emptied"
        if problems:
            more = len(problems) - _TOLD_MAX
            said = "; ".join(problems[:_TOLD_MAX]) + (f"; {more} more" if more > 0 else "")
            said = f"{declared.name} in {declared.namespace}: {said}"
        numbers = {"masters": declared.replicas, "rights": len(needed)}
        return Evidence(
            "restarts", ok=not problems, said=said, numbers=numbers, told_by="the API server"
        )

    async def start(self, tell: Tell) -> None:
        """Want as many as are declared, and wait until they serve."""
        await self._want(self._declared.replicas, tell)

        async def look() -> None:
            if not _is_seen(await self._live()):
                msg = f"the controller of {self._declared.name} has not seen what is wanted"
                raise NotYetError(msg)
            for name in self._declared.pods:
                _check_ready(name, await self._api.get(f"{self._pods}/{name}"))

        await self._wait(f"all pods of {self._declared.name} to be ready", look, tell)

    async def restart(self, index: int, tell: Tell) -> None:
        """Evict a pod, and wait until its successor serves."""
        name = self._declared.pods[index]

        async def find() -> str | None:
            pod = await self._api.get(f"{self._pods}/{name}")
            return None if pod is None else str(pod["metadata"]["uid"])

        # None: whoever was killed before us has evicted it.
        old = await self._wait(f"pod {name} to be told of", find, tell)

        async def evict() -> None:
            if old and not await self._api.evict(self._declared.namespace, name, old):
                msg = f"the disruption budget of {self._declared.name} keeps pod {name}"
                raise NotYetError(msg)

        async def look() -> None:
            pod = await self._api.get(f"{self._pods}/{name}")
            if pod and pod["metadata"]["uid"] == old:
                msg = f"pod {name} has not ended"
                raise NotYetError(msg)
            _check_ready(name, pod)

        await self._wait(f"pod {name} to be evicted", evict, tell)
        await self._wait(f"another pod {name} to be ready", look, tell)

    async def is_halted(self) -> bool:
        """Whether no pod is wanted."""
        return (await self._live())["spec"].get("replicas") == 0

    async def reset(self, tell: Tell) -> tuple[str, ...]:
        """Scale to none, delete what the members claimed, scale back."""
        declared = self._declared
        tell(f"stopping {', '.join(declared.pods)}")
        await self._want(0, tell)
        await self._wait(f"no pod of {declared.name} to be left", self._check_none_left, tell)
        for name in declared.claims:
            tell(f"deleting {name}")

            async def delete(path: str = f"{self._claims}/{name}") -> None:
                claim = await self._api.get(path)
                if claim is None:
                    return
                if "deletionTimestamp" not in claim["metadata"]:
                    await self._api.delete(path, uid=claim["metadata"]["uid"])
                msg = f"claim {claim['metadata']['name']} is still there"
                raise NotYetError(msg)

            await self._wait(f"claim {name} to be gone", delete, tell)
        await self.start(tell)
        return declared.claims

    async def _want(self, replicas: int, tell: Tell) -> None:
        async def look() -> None:
            live = await self._live()
            if live["spec"].get("replicas") != replicas:
                tell(f"scaling {self._declared.name} to {replicas}")
                # With its uid: another one, which somebody may have made meanwhile, is left alone.
                metadata = {"uid": live["metadata"]["uid"]}
                change = {"metadata": metadata, "spec": {"replicas": replicas}}
                await self._api.patch(self._set, change)

        await self._wait(f"{self._declared.name} to be scaled to {replicas}", look, tell)

    async def _check_none_left(self) -> None:
        live = await self._live()
        left = [name for name in self._declared.pods if await self._api.get(f"{self._pods}/{name}")]
        # A controller that has not seen the new number may still make a pod.
        if left or not _is_seen(live) or _part(live, "status").get("replicas", 0):
            msg = f"pods are left: {', '.join(left) or 'of no known name'}"
            raise NotYetError(msg)

    async def _wait(self, what: str, look: Callable[[], Awaitable[T]], tell: Tell) -> T:
        return await wait_until(what, look, bound_s=self._ready_s, tell=tell)

    async def _live(self) -> Object:
        declared = self._declared
        found = await self._api.get(self._set)
        uid = None if found is None else found["metadata"]["uid"]
        if found is None or (declared.uid is not None and declared.uid != uid):
            msg = (
                f"expected the StatefulSet {declared.name} in {declared.namespace} that the stack "
                f"made ({declared.uid or 'its uid is not told'}), saw {uid or 'none'}: is this the "
                "cluster where the stack runs? If somebody made it anew, `pulumi refresh`; then "
                "`migrate resume`"
            )
            raise ActFailedError(msg)
        return found


def _is_seen(live: Object) -> bool:
    """Whether the controller has acted on the newest of what is wanted."""
    return _part(live, "status").get("observedGeneration", 0) >= live["metadata"]["generation"]


def _check_ready(name: str, pod: Object | None) -> None:
    if pod is None:
        msg = f"pod {name} is not there"
        raise NotYetError(msg)
    conditions: list[Object] = _part(pod, "status").get("conditions") or []
    is_ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    if "deletionTimestamp" in pod["metadata"] or not is_ready:
        msg = f"pod {name} is not ready"
        raise NotYetError(msg)


def _part(of: Object, name: str) -> Object:
    return of.get(name) or {}
