"""Configuration of the target `kubernetes`."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from components.security.secrets import Operator
from components.targets.image import check_image
from components.workload import Spread
from stacks.config_model import Model

Image = Annotated[str, AfterValidator(check_image)]


class ImagesConfig(Model):
    """Container images, pinned by digest. There is no default: nobody maintains one.

    Each process of ours may have its own: the target of components/images that is called like its
    key, with dashes. Without one it runs in `platform`, which holds them all. Take all of one
    build: what one process writes for another, only the same version is sure to read.
    """

    zookeeper: Image
    """Runs ZooKeeper servers: the official image, or one laid out like it."""
    mesos: Image
    """Runs masters and agents."""
    platform: Image
    """Runs every process of ours that no other key names: `platform` of components/images."""
    sync_engine: Image | None = None
    """Runs the sync engine, and copies what Marathon keeps (`cluster.marathon.backup`)."""
    caretaker: Image | None = None
    """Looks after pods and volumes of workloads."""
    framework: Image | None = None
    """Runs the sample framework."""
    traffic: Image | None = None
    """Runs client groups."""
    exporter: Image | None = None
    """Tells Prometheus of masters, agents and Marathon."""
    registrator: Image | None = None
    """Tells Consul what runs."""
    log_keeper: Image | None = None
    """Tells Elasticsearch what it has to know of logs."""
    marathon_stand_in: Image | None = None
    """Runs the stand-in of Marathon, where `marathon` names none."""
    marathon: Image | None = None
    """Runs Marathon: the published image, or one with `marathon` on PATH, bash and coreutils. It
    wants a `mesos` image with the real programs. None: the stand-in runs."""
    networks: Image | None = None
    """Puts networks of containers on nodes: `networks` of components/images. Needed for
    `cluster.networks`."""

    def own(self, image: str | None) -> str:
        """What a process runs in: its own image, or the one that holds all."""
        return image or self.platform


class IssuerConfig(Model):
    """Who signs certificates, by cert-manager."""

    name: str = Field(min_length=1)
    """Its name."""
    kind: Literal["Issuer", "ClusterIssuer"] = "ClusterIssuer"
    """`Issuer` is one of the namespace."""


class TlsConfig(Model):
    """TLS of ZooKeeper: among servers, and to clients on a second port.

    The certificate of a colour is the Secret `<colour>-zookeeper-tls` with `tls.crt`, `tls.key` (of
    PKCS 8) and `ca.crt`, that of the sync engine `sync-engine-tls`.

    Masters and agents of Mesos know no TLS to ZooKeeper, so the plain port stays for them; they,
    Marathon and frameworks say who they are, over plain HTTP. Where the network between nodes is
    not your own, let it encrypt (WireGuard or IPsec of the CNI).
    """

    issuer: IssuerConfig | None = None
    """Makes those Secrets; None: somebody else has made them."""


class SnapshotsConfig(Model):
    """Copies of the volumes of ZooKeeper and of masters, by VolumeSnapshots."""

    driver: str = Field(min_length=1)
    """CSI driver of the volumes' storage class."""
    every_h: float = Field(default=6.0, ge=0.25)
    """Hours between two copies of a volume."""
    keep: int = Field(default=8, ge=1)
    """Copies of each volume that stay."""


class SecretStoreConfig(Model):
    """Where secrets come from; None of this: somebody fills the Secret `mesos-platform` of each
    namespace."""

    operator: Operator
    """`external-secrets`, or `vault` for the Vault Secrets Operator."""
    store: str = Field(min_length=1)
    """Name of the ClusterSecretStore, or of the VaultAuth of the namespace."""
    path: str = Field(min_length=1)
    """Where in the store: one key a file, with the file's content."""
    mount: str = "secret"
    """Mount of Vault's key-value engine, version 2."""
    refresh_s: int = Field(default=3600, ge=60)
    """Between two looks."""


class MastersReachedConfig(Model):
    """How masters are reached from where Pulumi runs, for what is kept in them: quota, weights."""

    masters: tuple[str, ...] | None = None
    """`host:port` of each, as they name each other; None: their names in the cluster."""
    credential_file: str | None = None
    """File on that machine with `operator:secret`."""


class KubernetesConfig(Model):
    """The target `kubernetes`."""

    images: ImagesConfig
    node_networks: tuple[str, ...] = Field(min_length=1)
    """Networks of the cluster's nodes, such as 10.0.0.0/16: agents use them, and so policies have
    to know them."""
    namespace: str = Field(default="mesos", pattern=r"^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$")
    """Namespace of every object but those of agents, which lie in `<namespace>-agents`."""
    spread: Spread = Spread.HOSTS
    """How far members of a tier are kept apart: `zones`, `hosts`, or `any` where there is one."""
    api_networks: tuple[str, ...] | None = None
    """Networks of the API's servers, as pods see them; None: those of the nodes."""
    zookeeper_acl: bool = False
    """Whether masters, agents and frameworks say who they are to ZooKeeper, with the secret
    `zookeeper-mesos` (`user:password`): what they write nobody else may change."""
    tls: TlsConfig | None = None
    """None: connections to ZooKeeper are not encrypted."""
    sasl_users: tuple[str, ...] = ()
    """Secrets with `user:password` each, of those who say by SASL who they are."""
    snapshots: SnapshotsConfig | None = None
    """None: volumes are not copied."""
    secret_store: SecretStoreConfig | None = None
    operator: MastersReachedConfig | None = None
    """Needed for tenants with a quota or a weight."""
    storage_class: str | None = None
    """Class of claimed volumes; the cluster's default when None."""
    volume_gib: int = Field(default=10, ge=1)
    """Size of each claimed volume."""
    ready_timeout_s: int = Field(default=600, ge=1)
    """An update fails when pods are not ready within this time; what was made stays."""

    @field_validator("node_networks", "api_networks")
    @classmethod
    def _are_networks(cls, given: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for text in given or ():
            ipaddress.ip_network(text)
        return given
