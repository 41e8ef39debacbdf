"""Kinds of other projects that a rig knows: as they publish them, and one that is written here.

That of the Vault Secrets Operator has a licence that its module is not served under, so what we use
of it is written down after its published documentation of v1beta1. A server drops fields that a
definition does not name, so a test that finds what was declared has held it to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from tests.providers.cluster.api import Cluster, Object
from tests.waiting import block_until
from tools import locate
from tools.kubernetes_recipes import DEFINITIONS

_SERVED_S_MAX = 60.0
_TEXT: Object = {"type": "string"}
_TEXTS: Object = {"type": "array", "items": _TEXT}
_OF_ELASTIC = {"elasticsearches.elasticsearch.k8s.elastic.co", "beats.beat.k8s.elastic.co"}
_VAULT: Object = {
    "vaultAuthRef": _TEXT,
    "namespace": _TEXT,
    "mount": _TEXT,
    "type": {"type": "string", "enum": ["kv-v1", "kv-v2"]},
    "path": _TEXT,
    "version": {"type": "integer"},
    "refreshAfter": {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(s|m|h))$"},
    "hmacSecretData": {"type": "boolean"},
    "destination": {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": _TEXT,
            "create": {"type": "boolean"},
            "overwrite": {"type": "boolean"},
            "type": _TEXT,
            "transformation": {
                "type": "object",
                "properties": {
                    "excludeRaw": {"type": "boolean"},
                    "excludes": _TEXTS,
                    "includes": _TEXTS,
                },
            },
        },
    },
}


def published() -> Iterator[Object]:
    """Definitions as their projects publish them."""
    for path in sorted(locate.folder(DEFINITIONS.full_name).glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document and _is_wanted(document["metadata"]["name"]):
                # Labels of a chart, with its placeholders.
                document["metadata"].pop("labels", None)
                yield document


def _is_wanted(name: str) -> bool:
    """Elastic publishes the kinds of all its products in one file."""
    return not name.endswith("k8s.elastic.co") or name in _OF_ELASTIC


def vault() -> Object:
    """VaultStaticSecret of v1beta1."""
    spec: Object = {
        "type": "object",
        "required": ["destination", "mount", "path", "type"],
        "properties": _VAULT,
    }
    version: dict[str, Any] = {
        "name": "v1beta1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "vaultstaticsecrets.secrets.hashicorp.com"},
        "spec": {
            "group": "secrets.hashicorp.com",
            "scope": "Namespaced",
            "names": {
                "kind": "VaultStaticSecret",
                "plural": "vaultstaticsecrets",
                "singular": "vaultstaticsecret",
            },
            "versions": [version],
        },
    }


def install(cluster: Cluster) -> list[Object]:
    """Let a server know all of them; returns them, for removal."""
    made = [*published(), vault()]
    for definition in made:
        cluster.apply(definition)
    block_until(lambda: all(_is_served(cluster, each) for each in made), "kinds", _SERVED_S_MAX)
    return made


def _is_served(cluster: Cluster, definition: Object) -> bool:
    live = cluster.find(definition) or {}
    # Of a kind that was just made, both may stand there as null.
    status: Object = live.get("status") or {}
    conditions: list[Object] = status.get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
