"""A small Kubernetes provider: what the engine needs for previews, and updates that only remember.

It is found on PATH as `pulumi-resource-kubernetes` where the real plugin cannot be downloaded. It
checks what an API server would refuse at once (no name, a kind that is not known), and so previews
of stack dev work by hand. No cluster is touched, so updates are refused: they would claim what is
not there. Tests, which want the engine's part of an update alone, set a variable; objects are then
kept in the engine's state. Tests with an API server of their own name its kubeconfig in another
variable, and get the provider of tests.providers.cluster.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from pulumi.provider.experimental import property_value
from pulumi.provider.experimental.provider import (
    CheckFailure,
    CheckRequest,
    CheckResponse,
    CreateRequest,
    CreateResponse,
    DeleteRequest,
    DiffRequest,
    DiffResponse,
    Provider,
    UpdateRequest,
    UpdateResponse,
)
from pulumi.provider.experimental.server import main as serve

VERSION = "4.34.2"
# Set by tests alone.
REMEMBERS = "TEST_KUBERNETES_REMEMBERS"
KNOWS = "TEST_KUBERNETES_KNOWS"
"""API groups of other projects, with commas between them."""
APPLIES = "TEST_KUBERNETES_APPLIES"
"""Names a kubeconfig. Not KUBECONFIG, which a person has set for a cluster of theirs."""
GROUPS = frozenset(
    {
        "core/v1",
        "apps/v1",
        "policy/v1",
        "rbac.authorization.k8s.io/v1",
        "batch/v1",
        "networking.k8s.io/v1",
    }
)
Properties = dict[str, property_value.PropertyValue]


class InMemoryKubernetes(Provider):
    """Objects live in the engine's state."""

    async def check(self, request: CheckRequest) -> CheckResponse:
        """Refuse what an API server would refuse at once."""
        # A type is qualified by those of its parents.
        token = request.type.rpartition("$")[2]
        group = token.removeprefix("kubernetes:").rpartition(":")[0]
        known = GROUPS.union(filter(None, os.environ.get(KNOWS, "").split(",")))
        if group not in known:
            reason = f"no API group {group!r} is served here, only {', '.join(sorted(known))}"
            return CheckResponse(inputs=request.new_inputs, failures=[CheckFailure("kind", reason)])
        if not _text(request.new_inputs, "name"):
            failure = CheckFailure("metadata", "expected metadata.name, saw none")
            return CheckResponse(inputs=request.new_inputs, failures=[failure])
        return CheckResponse(inputs=request.new_inputs)

    async def diff(self, request: DiffRequest) -> DiffResponse:
        """Another name or namespace is another object; any other difference is an update."""
        changed = [
            key
            for key in {*request.old_state, *request.new_inputs}
            if request.old_state.get(key) != request.new_inputs.get(key)
        ]
        renamed = any(
            _text(request.old_state, key) != _text(request.new_inputs, key)
            for key in ("name", "namespace")
        )
        return DiffResponse(
            changes=bool(changed), replaces=["metadata"] if renamed else [], diffs=changed
        )

    async def create(self, request: CreateRequest) -> CreateResponse:
        """Remember an object."""
        _check_allowed("create", request.name, preview=request.preview)
        resource_id = "" if request.preview else str(_text(request.properties, "name"))
        return CreateResponse(resource_id=resource_id, properties=request.properties)

    async def update(self, request: UpdateRequest) -> UpdateResponse:
        """Remember it anew."""
        _check_allowed("update", request.name, preview=request.preview)
        return UpdateResponse(properties=request.news)

    async def delete(self, request: DeleteRequest) -> None:
        """Nothing is kept outside of the engine's state."""
        _check_allowed("delete", request.name, preview=False)


class PluginMissingError(Exception):
    """An update was asked of a provider that only knows previews."""


def _check_allowed(verb: str, name: str, *, preview: bool) -> None:
    if preview or os.environ.get(REMEMBERS):
        return
    # The engine shows what is raised; where in this file it was raised helps nobody.
    sys.tracebacklimit = 0
    msg = (
        f"expected Pulumi's own Kubernetes plugin to {verb} {name}, saw the stand-in that only "
        "previews: no cluster was touched. Install it with `pulumi plugin install resource "
        f"kubernetes v{VERSION}`, then `make setup` and read .local/env anew"
    )
    raise PluginMissingError(msg)


def _text(properties: Properties, key: str) -> str | None:
    """A text of an object's metadata; None when there is none."""
    metadata = properties.get("metadata")
    if metadata is None or not isinstance(metadata.value, Mapping):
        return None
    found = metadata.value.get(key)
    return found.value if found is not None and isinstance(found.value, str) else None


def main() -> None:
    """Serve the engine that started us."""
    serve(sys.argv[1:], VERSION, _provider())


def _provider() -> Provider:
    kubeconfig = os.environ.get(APPLIES)
    if not kubeconfig:
        return InMemoryKubernetes()
    # The engine shows what is raised; where in these files it was raised helps nobody.
    sys.tracebacklimit = 0
    from tests.providers.cluster.provider import AppliedKubernetes  # noqa: PLC0415 - previews need none of it

    return AppliedKubernetes(Path(kubeconfig))


if __name__ == "__main__":
    main()
