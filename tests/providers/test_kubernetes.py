"""The small Kubernetes provider refuses what an API server would, and tells differences."""

from __future__ import annotations

import asyncio
import sys

import pytest
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import (
    CheckRequest,
    CreateRequest,
    DeleteRequest,
    DiffRequest,
    UpdateRequest,
)

from tests.providers.kubernetes import (
    REMEMBERS,
    InMemoryKubernetes,
    PluginMissingError,
    Properties,
)

URN = "urn:pulumi:dev::mesos-platform::mesosplatform:mesos:Masters${}::name"


def named(name: str, data: str = "") -> Properties:
    metadata = PropertyValue({"name": PropertyValue(name)})
    return {"metadata": metadata, "data": PropertyValue(data)}


def failures(type_: str, properties: Properties) -> list[str]:
    request = CheckRequest(URN.format(type_), {}, properties, b"")
    answer = asyncio.run(InMemoryKubernetes().check(request))
    return [failure.property for failure in answer.failures or []]


@pytest.mark.parametrize(
    ("type_", "properties", "refused"),
    [
        ("kubernetes:core/v1:ConfigMap", named("a"), []),
        ("kubernetes:core/v1:ConfigMap", {}, ["metadata"]),
        ("kubernetes:core/v1:ConfigMap", named(""), ["metadata"]),
        ("kubernetes:other/v1:Thing", named("a"), ["kind"]),
    ],
)
def test_a_check_refuses_at_once(type_: str, properties: Properties, refused: list[str]) -> None:
    assert failures(type_, properties) == refused


def test_updates_are_refused_and_previews_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REMEMBERS)
    monkeypatch.setattr(sys, "tracebacklimit", 100, raising=False)
    urn = URN.format("kubernetes:core/v1:ConfigMap")
    provider = InMemoryKubernetes()

    def create(*, preview: bool) -> None:
        asyncio.run(provider.create(CreateRequest(urn, named("a"), 0, preview)))

    def update(*, preview: bool) -> None:
        request = UpdateRequest(urn, "a", named("a"), named("a", "x"), 0, [], preview)
        asyncio.run(provider.update(request))

    create(preview=True)
    update(preview=True)
    with pytest.raises(PluginMissingError, match="own Kubernetes plugin to create name"):
        create(preview=False)
    with pytest.raises(PluginMissingError, match="own Kubernetes plugin to update name"):
        update(preview=False)
    with pytest.raises(PluginMissingError, match="no cluster was touched"):
        asyncio.run(provider.delete(DeleteRequest(urn, "a", named("a"), 0)))


def test_another_name_is_another_object() -> None:
    def diff(old: Properties, new: Properties) -> tuple[bool | None, list[str] | None]:
        request = DiffRequest(URN.format("kubernetes:core/v1:ConfigMap"), "a", old, new, [])
        answer = asyncio.run(InMemoryKubernetes().diff(request))
        return answer.changes, answer.replaces

    assert diff(named("a"), named("a")) == (False, [])
    assert diff(named("a"), named("a", "x")) == (True, [])
    assert diff(named("a"), named("b")) == (True, ["metadata"])
