"""What is ours of an object, how two differ, and when one is ready: decided over documents."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulumi.provider.experimental.property_value import Computed, PropertyValue
from pulumi.provider.experimental.provider import PropertyDiffKind

from tests.providers.cluster import objects
from tests.providers.cluster.objects import differences, replacing, seen, to_object, to_properties
from tests.providers.cluster.ready import problem

LEAVES = st.booleans() | st.integers(-(2**31), 2**31) | st.text(max_size=5)
DOCUMENTS = st.dictionaries(
    st.text(min_size=1, max_size=5),
    st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3), max_leaves=5),
    max_size=4,
)


@given(DOCUMENTS)
def test_a_document_survives_the_engine(document: dict[str, Any]) -> None:
    assert to_object(to_properties(document)) == document
    assert differences(document, document) == {}
    assert seen(document, document) == document


def test_what_is_null_is_not_there_and_what_is_unknown_stays_so() -> None:
    properties = {"a": PropertyValue(None), "b": PropertyValue.computed(), "c": PropertyValue(3.0)}

    document = to_object(properties)

    assert document == {"b": objects.UNKNOWN, "c": 3}
    assert not objects.is_known(document)
    assert isinstance(to_properties(document)["b"].value, Computed)


def test_only_declared_fields_are_looked_at() -> None:
    declared: dict[str, Any] = {
        "metadata": {"name": "a"},
        "spec": {
            "containers": [{"name": "one", "image": "x"}, {"name": "two", "image": "y"}],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
            "selector": {},
        },
    }
    live: dict[str, Any] = {
        "metadata": {"name": "a", "uid": "1"},
        "spec": {
            "containers": [
                {"name": "added", "image": "z"},
                {"name": "two", "image": "y", "tty": True},
                {"name": "one", "image": "changed"},
            ],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
        "status": {"phase": "any"},
    }

    state = seen(declared, live)

    assert differences(state, declared) == {"spec.containers[0].image": PropertyDiffKind.UPDATE}


@pytest.mark.parametrize(
    ("declared", "live", "same"),
    [
        ("1024Mi", "1Gi", True),
        ("1000m", "1", True),
        ("1500M", "1500M", True),
        ("1000Mi", "1Gi", False),
        ("1G", "1Gi", False),
        ("100m", None, False),
    ],
)
def test_amounts_are_compared_by_what_they_mean(
    declared: str, live: str | None, same: bool
) -> None:
    wanted = {"resources": {"limits": {"memory": declared}}}
    found = {"resources": {"limits": {} if live is None else {"memory": live}}}

    assert (differences(seen(wanted, found), wanted) == {}) is same


def test_differences_have_the_engines_paths() -> None:
    old = {"metadata": {"labels": {"a.b/c": "1", "gone": "x"}}, "spec": {"ports": [1, 2]}}
    new = {"metadata": {"labels": {"a.b/c": "2"}}, "spec": {"ports": [1], "added": True}}

    assert differences(old, new) == {
        'metadata.labels["a.b/c"]': PropertyDiffKind.UPDATE,
        "metadata.labels.gone": PropertyDiffKind.DELETE,
        "spec.added": PropertyDiffKind.ADD,
        "spec.ports": PropertyDiffKind.UPDATE,
    }


@pytest.mark.parametrize(
    ("kind", "path", "mutable", "replaces"),
    [
        ("StatefulSet", "spec.replicas", True, False),
        ("StatefulSet", "spec.volumeClaimTemplates[0].spec", True, True),
        ("StatefulSet", "spec.serviceName", True, True),
        ("ConfigMap", 'data["a.json"]', True, False),
        ("ConfigMap", 'data["a.json"]', False, True),
        ("Service", "metadata.namespace", True, True),
        ("Service", "metadata.labels.name", True, False),
        ("Deployment", "spec.selectorless", True, False),
    ],
)
def test_what_no_update_can_change_replaces(
    kind: str, path: str, mutable: bool, replaces: bool
) -> None:
    assert replacing(kind, [path], mutable_config=mutable) == ([path] if replaces else [])


def stateful(status: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "kind": "StatefulSet",
        "metadata": {"name": "a", "generation": 2},
        "spec": {"replicas": 3, **spec},
        "status": status,
    }


READY = {
    "observedGeneration": 2,
    "replicas": 3,
    "readyReplicas": 3,
    "updateRevision": "b",
    "currentRevision": "b",
}


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (stateful(READY), None),
        (stateful({**READY, "readyReplicas": 2}), "2 of 3 pods are ready"),
        (stateful({**READY, "observedGeneration": 1}), "its controller has not seen it yet"),
        (stateful({}), "its controller has not seen it yet"),
        (stateful({**READY, "currentRevision": "a"}), "0 of 3 pods are of the new revision"),
        (
            stateful({**READY, "currentRevision": "a"}, updateStrategy={"type": "OnDelete"}),
            None,
        ),
        ({"kind": "ConfigMap", "metadata": {"name": "a"}}, None),
        (
            {"kind": "Namespace", "metadata": {"name": "a"}, "status": {"phase": "Terminating"}},
            "it is Terminating",
        ),
    ],
)
def test_an_object_says_what_it_lacks(of: dict[str, Any], expected: str | None) -> None:
    assert problem(of) == expected
