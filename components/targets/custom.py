"""Objects of other projects' kinds: certificates, classes of volume snapshots, filled Secrets, and
what components make with `foreign` themselves.

Their definitions belong to the cluster. Where one is missing, the preview fails at the object and
names the kind: nothing was changed by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi_kubernetes import meta as k8s_meta

from components.errors import ArgumentsError
from components.security.secrets import SecretStore
from components.workload import Certificate, Snapshots

CERT_MANAGER = "cert-manager.io/v1"
SNAPSHOTS = "snapshot.storage.k8s.io/v1"
_HOURS = "2160h"
_RENEW_HOURS = "720h"


def certificate(
    name: str,
    metadata: k8s_meta.v1.ObjectMetaArgs,
    wanted: Certificate,
    hosts: Sequence[str],
    opts: pulumi.ResourceOptions,
) -> pulumi.Resource:
    """A Certificate that cert-manager keeps in the Secret of `wanted`, for 90 days at a time.

    Its key has the form that Java reads, and serves both ends of a connection.
    """
    assert wanted.issuer is not None
    spec = {
        "secretName": wanted.secret,
        "commonName": name,
        "dnsNames": list(hosts),
        "duration": _HOURS,
        "renewBefore": _RENEW_HOURS,
        "privateKey": {"algorithm": "ECDSA", "size": 256, "encoding": "PKCS8"},
        "usages": ["server auth", "client auth"],
        "issuerRef": {
            "name": wanted.issuer.name,
            "kind": wanted.issuer.kind,
            "group": "cert-manager.io",
        },
    }
    return foreign(name, (CERT_MANAGER, "Certificate"), metadata, {"spec": spec}, opts)


def snapshot_class(
    name: str,
    metadata: k8s_meta.v1.ObjectMetaArgs,
    wanted: Snapshots,
    opts: pulumi.ResourceOptions,
) -> pulumi.Resource:
    """The class of a workload's snapshots. What one holds is removed with it, which is how a
    caretaker lets old ones go: who wants them to outlive the namespace copies them elsewhere."""
    if wanted.every_h <= 0 or wanted.keep < 1:
        msg = (
            f"expected snapshots every so many hours above 0 and at least 1 kept, saw "
            f"{wanted.every_h:g} h and {wanted.keep}"
        )
        raise ArgumentsError(msg)
    fields = {"driver": wanted.driver, "deletionPolicy": "Delete"}
    return foreign(name, (SNAPSHOTS, "VolumeSnapshotClass"), metadata, fields, opts)


def filled_secret(  # noqa: PLR0913 - the fields of an object
    name: str,
    metadata: k8s_meta.v1.ObjectMetaArgs,
    *,
    secret: str,
    store: SecretStore,
    keys: Sequence[str],
    opts: pulumi.ResourceOptions,
) -> pulumi.Resource:
    """What keeps a Secret equal to a store."""
    api_version, kind, spec = store.document(secret, keys)
    return foreign(name, (api_version, kind), metadata, {"spec": spec}, opts)


def foreign(
    name: str,
    kind: tuple[str, str],
    metadata: k8s_meta.v1.ObjectMetaArgs,
    fields: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
) -> pulumi.Resource:
    """An object of a kind that the cluster may not know; `fields` are those beside its metadata."""
    # The library's own class takes a `spec` alone, and classes of snapshots have none.
    properties = {"apiVersion": kind[0], "kind": kind[1], "metadata": metadata, **fields}
    return pulumi.CustomResource(f"kubernetes:{kind[0]}:{kind[1]}", name, properties, opts)
