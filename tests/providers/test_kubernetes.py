"""The small Kubernetes provider refuses what an API server would, and tells differences."""

from __future__ import annotations

import asyncio

import pytest
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import CheckRequest, DiffRequest

from tests.providers.kubernetes import InMemoryKubernetes, Properties

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


def test_another_name_is_another_object() -> None:
    def diff(old: Properties, new: Properties) -> tuple[bool | None, list[str] | None]:
        request = DiffRequest(URN.format("kubernetes:core/v1:ConfigMap"), "a", old, new, [])
        answer = asyncio.run(InMemoryKubernetes().diff(request))
        return answer.changes, answer.replaces

    assert diff(named("a"), named("a")) == (False, [])
    assert diff(named("a"), named("a", "x")) == (True, [])
    assert diff(named("a"), named("b")) == (True, ["metadata"])
