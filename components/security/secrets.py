"""Secrets that an operator of the cluster brings from a store: External Secrets, or Vault's own.

What is declared names keys and where they lie; the operator writes the values into the Secret that
pods mount, and neither Pulumi's state nor an output ever holds one. Each namespace gets the keys
that its pods use. The kinds are external-secrets.io/v1 and secrets.hashicorp.com/v1beta1, as their
projects publish them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import pulumi

from components.base import token
from components.errors import ArgumentsError

_KEY = re.compile(r"[A-Za-z0-9._-]+")


class Operator(StrEnum):
    """What keeps Secrets equal to a store."""

    EXTERNAL_SECRETS = "external-secrets"
    VAULT = "vault"


@dataclass(frozen=True)
class SecretStore:
    """`store` is the ClusterSecretStore of External Secrets, or the VaultAuth of the Secrets
    Operator; `path` is where the keys lie in it, below Vault's `mount` of key-value version 2."""

    operator: Operator
    store: str
    path: str
    mount: str = "secret"
    refresh_s: int = 3600

    def document(self, name: str, keys: Sequence[str]) -> tuple[str, str, dict[str, Any]]:
        """API version, kind and spec of the object that fills the Secret `name` with these keys.

        Raises:
            ArgumentsError: there is no key, or one that no Secret can have.
        """
        if not keys or not all(map(_KEY.fullmatch, keys)):
            msg = f"expected keys of a Secret ({_KEY.pattern}), saw {list(keys)}"
            raise ArgumentsError(msg)
        if self.operator is Operator.VAULT:
            wanted = [f"^{re.escape(key)}$" for key in sorted(keys)]
            spec: dict[str, Any] = {
                "vaultAuthRef": self.store,
                "mount": self.mount,
                "type": "kv-v2",
                "path": self.path,
                "refreshAfter": f"{self.refresh_s}s",
                "destination": {
                    "name": name,
                    "create": True,
                    # Nothing of the path that no pod uses, and not all of it in one key.
                    "transformation": {"excludeRaw": True, "includes": wanted},
                },
            }
            return "secrets.hashicorp.com/v1beta1", "VaultStaticSecret", spec
        spec = {
            "refreshInterval": f"{self.refresh_s}s",
            "secretStoreRef": {"name": self.store, "kind": "ClusterSecretStore"},
            "target": {"name": name, "creationPolicy": "Owner"},
            "data": [
                {"secretKey": key, "remoteRef": {"key": self.path, "property": key}}
                for key in sorted(keys)
            ],
        }
        return "external-secrets.io/v1", "ExternalSecret", spec


class SecretsTarget(Protocol):
    """A target whose pods mount Secrets."""

    def fill_secret(
        self, store: SecretStore, keys: Sequence[str], *, per_node: bool, parent: pulumi.Resource
    ) -> pulumi.Resource:
        """Declare what fills the Secret of its pods, or of those of shape PER_NODE."""
        ...


class PlatformSecrets(pulumi.ComponentResource):
    """The Secrets of a stack's pods, filled from a store: `keys` for all but those that belong to
    nodes, `node_keys` for these."""

    def __init__(
        self,
        store: SecretStore,
        target: SecretsTarget,
        *,
        keys: Sequence[str],
        node_keys: Sequence[str],
        depends_on: Sequence[pulumi.Resource],
    ) -> None:
        opts = pulumi.ResourceOptions(depends_on=list(depends_on))
        super().__init__(token("security", "Secrets"), "secrets", {}, opts)
        target.fill_secret(store, keys, per_node=False, parent=self)
        if node_keys:
            target.fill_secret(store, node_keys, per_node=True, parent=self)
        self.register_outputs({"keys": sorted({*keys, *node_keys})})
