"""A small Kubernetes provider that applies to a real API server.

It behaves as users know the large one, in what our components use of it: server-side apply, with
`pulumi.com/patchForce` where we take back fields; updates wait until pods are ready; another value
of what no update can change replaces the object; a refresh sees what was changed by hand.
State holds the declared fields alone, with the values that they have on the server.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pulumi.provider.experimental.provider import (
    CheckFailure,
    CheckRequest,
    CheckResponse,
    ConfigureRequest,
    ConfigureResponse,
    CreateRequest,
    CreateResponse,
    DeleteRequest,
    DiffRequest,
    DiffResponse,
    Provider,
    ReadRequest,
    ReadResponse,
    UpdateRequest,
    UpdateResponse,
)

from tests.providers.cluster import objects, ready
from tests.providers.cluster.api import MANAGER, Cluster, part, told
from tests.providers.cluster.errors import (
    ClusterError,
    ForeignObjectError,
    RefusedError,
)
from tests.providers.cluster.objects import Object, Properties

T = TypeVar("T")
FORCE = "pulumi.com/patchForce"
# The large provider's own bound of an await.
_READY_S_MAX = 600.0
_DEFAULT_NAMESPACE = "default"


class AppliedKubernetes(Provider):
    """Objects live on the API server that a kubeconfig names."""

    def __init__(self, kubeconfig: Path) -> None:
        self._cluster = Cluster.of_kubeconfig(kubeconfig)
        self._mutable_config = False

    async def configure(self, request: ConfigureRequest) -> ConfigureResponse:
        """Take the one option that we know."""
        options = objects.to_object(request.args)
        self._mutable_config = str(options.get("enableConfigMapMutable")).lower() == "true"
        return ConfigureResponse(supports_preview=True)

    async def check(self, request: CheckRequest) -> CheckResponse:
        """Complete the namespace, and refuse what the server cannot know."""
        wanted = objects.to_object(request.new_inputs)
        metadata = wanted.setdefault("metadata", {})
        if not metadata.get("name"):
            failure = CheckFailure("metadata", "expected metadata.name, saw none")
            return CheckResponse(inputs=request.new_inputs, failures=[failure])
        try:
            namespaced = await _in_thread(
                lambda: self._cluster.namespaced(wanted["apiVersion"], wanted["kind"])
            )
        except ClusterError as error:
            failure = CheckFailure("kind", str(error))
            return CheckResponse(inputs=request.new_inputs, failures=[failure])
        if namespaced:
            metadata.setdefault("namespace", _DEFAULT_NAMESPACE)
        return CheckResponse(inputs=objects.to_properties(wanted))

    async def diff(self, request: DiffRequest) -> DiffResponse:
        """Compare what is there with what is declared."""
        old, new = objects.to_object(request.old_state), objects.to_object(request.new_inputs)
        found = objects.differences(old, new)
        replaces = objects.replacing(new["kind"], list(found), mutable_config=self._mutable_config)
        return DiffResponse(
            changes=bool(found),
            replaces=replaces,
            # Both have one name, and so cannot be there at the same time.
            delete_before_replace=bool(replaces),
            diffs=sorted({path.split(".")[0].split("[")[0] for path in found}),
            detailed_diff=objects.detailed(found, replaces),
        )

    async def create(self, request: CreateRequest) -> CreateResponse:
        """Create an object that nobody else has made, and wait for it."""
        wanted = objects.to_object(request.properties)
        if request.preview:
            await _in_thread(lambda: self._rehearse(wanted))
            return CreateResponse(resource_id="", properties=request.properties)
        live = await _in_thread(
            lambda: self._create(wanted, _manager(request.urn), request.timeout)
        )
        return CreateResponse(resource_id=_id(wanted), properties=_state(wanted, live))

    async def update(self, request: UpdateRequest) -> UpdateResponse:
        """Apply an object anew, and wait for it."""
        wanted = objects.to_object(request.news)
        if request.preview:
            await _in_thread(lambda: self._rehearse(wanted))
            return UpdateResponse(properties=request.news)
        live = await _in_thread(lambda: self._apply(wanted, _manager(request.urn), request.timeout))
        return UpdateResponse(properties=_state(wanted, live))

    async def delete(self, request: DeleteRequest) -> None:
        """Remove an object, and wait until it is gone."""
        wanted = objects.to_object(request.properties)

        def work() -> None:
            if self._cluster.delete(wanted):
                ready.wait_gone(self._cluster, wanted, request.timeout or _READY_S_MAX)

        await _in_thread(work)

    async def read(self, request: ReadRequest) -> ReadResponse:
        """What the declared fields are now."""
        declared = objects.to_object(request.inputs or request.properties)
        live = await _in_thread(lambda: self._cluster.find(declared))
        if live is None:
            return ReadResponse(resource_id="")
        state = _state(declared, live)
        return ReadResponse(resource_id=request.resource_id, properties=state, inputs=state)

    def _rehearse(self, wanted: Object) -> None:
        """Let the server judge what a preview would apply, as far as it can already."""
        if not objects.is_known(wanted):
            return
        namespace = wanted["metadata"].get("namespace")
        if namespace and self._cluster.get("v1", "Namespace", namespace) is None:
            return
        self._cluster.apply(wanted, force=True, dry_run=True)

    def _create(self, wanted: Object, manager: str, timeout_s: float) -> Object:
        there = self._cluster.find(wanted)
        if there is not None and manager not in _managers(there):
            managers = sorted(_managers(there)) or ["somebody"]
            msg = (
                f"expected no {told(wanted)} yet, saw one that {', '.join(managers)} made: remove "
                "it, import it, or declare another name"
            )
            raise ForeignObjectError(msg)
        # Ours: an update was interrupted, or ran out of time, after it had created this.
        return self._apply(wanted, manager, timeout_s)

    def _apply(self, wanted: Object, manager: str, timeout_s: float) -> Object:
        force = part(wanted, "metadata", "annotations").get(FORCE) == "true"
        try:
            self._cluster.apply(wanted, manager=manager, force=force)
        except RefusedError as error:
            if error.reason == "Conflict":
                msg = f"{error}. Annotate it with {FORCE}: 'true' to take the fields back"
                raise ClusterError(msg) from None
            raise
        given = part(wanted, "metadata", "annotations").get(ready.TIMEOUT)
        bound_s = timeout_s or float(given or _READY_S_MAX)
        return ready.wait_ready(self._cluster, wanted, bound_s)


def _state(declared: Object, live: Object) -> Properties:
    return objects.to_properties(objects.seen(declared, live))


def _id(of: Object) -> str:
    metadata = of["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def _manager(urn: str) -> str:
    """Each resource of each stack is a manager of its own, so that none takes another's object."""
    return f"{MANAGER}-{hashlib.sha256(urn.encode()).hexdigest()[:8]}"


def _managers(live: Object) -> set[str]:
    return {each["manager"] for each in live["metadata"].get("managedFields", ())}


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.to_thread(work)
