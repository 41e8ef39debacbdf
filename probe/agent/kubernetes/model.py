"""Objects of the Kubernetes API, as far as a probe keeps them: everything else is never decoded.

Names are the API's (`k8s.io/api`), in this language's style.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

# What a report can carry.
Int = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Texts = dict[str, str]


class Owner(msgspec.Struct):
    """Who made an object."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class Meta(msgspec.Struct, rename="camel"):
    """Of every object."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None
    labels: Texts | None = None
    owner_references: list[Owner] | None = None

    @property
    def controller(self) -> Owner | None:
        """The owner that keeps it as it is."""
        return next((one for one in self.owner_references or () if one.controller), None)


class Bare(msgspec.Struct):
    """Any object: what a bookmark and a removal have to say."""

    metadata: Meta


class Condition(msgspec.Struct):
    """One thing that is so, or not, or not known."""

    type: str = ""
    status: str = ""


class Address(msgspec.Struct):
    """Of a node."""

    type: str = ""
    address: str = ""


class NodeInfo(msgspec.Struct, rename="camel"):
    """What a kubelet says of its machine."""

    kubelet_version: str = ""
    kernel_version: str = ""
    os_image: str = ""
    container_runtime_version: str = ""


class NodeStatus(msgspec.Struct, rename="camel"):
    """How a node is."""

    addresses: list[Address] | None = None
    conditions: list[Condition] | None = None
    allocatable: Texts | None = None
    node_info: NodeInfo = msgspec.field(default_factory=NodeInfo)


class Taint(msgspec.Struct):
    """Why pods stay away from a node."""

    key: str = ""
    value: str = ""
    effect: str = ""


class NodeSpec(msgspec.Struct):
    """What a node should be."""

    unschedulable: bool = False
    taints: list[Taint] | None = None


class Node(msgspec.Struct):
    """A machine of the cluster."""

    metadata: Meta
    spec: NodeSpec = msgspec.field(default_factory=NodeSpec)
    status: NodeStatus = msgspec.field(default_factory=NodeStatus)


class Phase(msgspec.Struct):
    """A status that is one word."""

    phase: str = ""


class Namespace(msgspec.Struct):
    """Where names are unique."""

    metadata: Meta
    status: Phase = msgspec.field(default_factory=Phase)


class ClaimSource(msgspec.Struct, rename="camel"):
    """A claim that a pod mounts."""

    claim_name: str = ""


class PodVolume(msgspec.Struct, rename="camel"):
    """What a pod mounts."""

    name: str = ""
    persistent_volume_claim: ClaimSource | None = None


class PodContainer(msgspec.Struct):
    """A container that a pod should have."""

    name: str = ""
    image: str = ""


class PodSpec(msgspec.Struct, rename="camel"):
    """What a pod should be."""

    node_name: str = ""
    host_network: bool = False
    service_account_name: str = ""
    containers: list[PodContainer] | None = None
    volumes: list[PodVolume] | None = None


class Reason(msgspec.Struct):
    """Why a container waits or has ended."""

    reason: str = ""


class ContainerState(msgspec.Struct):
    """One of its parts is set."""

    waiting: Reason | None = None
    terminated: Reason | None = None


class ContainerStatus(msgspec.Struct, rename="camel"):
    """How a container of a pod is."""

    container_id: str = msgspec.field(default="", name="containerID")
    restart_count: Int = 0
    state: ContainerState = msgspec.field(default_factory=ContainerState)


class PodAddress(msgspec.Struct):
    """Of a pod."""

    ip: str = ""


class PodStatus(msgspec.Struct, rename="camel"):
    """How a pod is."""

    phase: str = ""
    reason: str = ""
    qos_class: str = ""
    start_time: str | None = None
    pod_ips: list[PodAddress] | None = msgspec.field(default=None, name="podIPs")
    conditions: list[Condition] | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None


class Pod(msgspec.Struct):
    """Containers that share a network and a fate."""

    metadata: Meta
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


class Template(msgspec.Struct):
    """What pods of a workload are made from."""

    spec: PodSpec = msgspec.field(default_factory=PodSpec)


class JobTemplateSpec(msgspec.Struct):
    """What jobs of a cron job should be."""

    template: Template = msgspec.field(default_factory=Template)


class JobTemplate(msgspec.Struct):
    """What jobs of a cron job are made from."""

    spec: JobTemplateSpec = msgspec.field(default_factory=JobTemplateSpec)


class WorkloadSpec(msgspec.Struct, rename="camel"):
    """What a workload of any kind should be; each kind has some of it."""

    replicas: Int | None = None
    completions: Int | None = None
    parallelism: Int | None = None
    suspend: bool = False
    paused: bool = False
    schedule: str | None = None
    template: Template = msgspec.field(default_factory=Template)
    job_template: JobTemplate = msgspec.field(default_factory=JobTemplate)


class WorkloadStatus(msgspec.Struct, rename="camel"):
    """How a workload of any kind is; each kind has some of it."""

    replicas: Int = 0
    ready_replicas: Int = 0
    updated_replicas: Int = 0
    desired_number_scheduled: Int = 0
    number_ready: Int = 0
    updated_number_scheduled: Int = 0
    active: Int | list[msgspec.Raw] | None = None
    succeeded: Int = 0
    failed: Int = 0
    last_schedule_time: str | None = None


class Workload(msgspec.Struct):
    """What keeps pods, or keeps what keeps them."""

    metadata: Meta
    spec: WorkloadSpec = msgspec.field(default_factory=WorkloadSpec)
    status: WorkloadStatus = msgspec.field(default_factory=WorkloadStatus)


class VolumeCapacity(msgspec.Struct):
    """Quantities by name."""

    storage: str = ""


class ObjectRef(msgspec.Struct):
    """Another object."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class Csi(msgspec.Struct):
    """A driver's volume."""

    driver: str = ""


class VolumeSpec(msgspec.Struct, rename="camel"):
    """What a volume is."""

    capacity: VolumeCapacity | None = None
    claim_ref: ObjectRef | None = None
    storage_class_name: str = ""
    access_modes: list[str] | None = None
    persistent_volume_reclaim_policy: str = ""
    csi: Csi | None = None


class Volume(msgspec.Struct):
    """Room for data, whoever asks for it."""

    metadata: Meta
    spec: VolumeSpec = msgspec.field(default_factory=VolumeSpec)
    status: Phase = msgspec.field(default_factory=Phase)


class Requests(msgspec.Struct):
    """What is asked for."""

    requests: VolumeCapacity | None = None


class ClaimSpec(msgspec.Struct, rename="camel"):
    """What a claim asks for."""

    volume_name: str = ""
    storage_class_name: str | None = None
    access_modes: list[str] | None = None
    resources: Requests = msgspec.field(default_factory=Requests)


class ClaimStatus(msgspec.Struct):
    """What a claim has got."""

    phase: str = ""
    capacity: VolumeCapacity | None = None


class Claim(msgspec.Struct):
    """Somebody's wish for a volume."""

    metadata: Meta
    spec: ClaimSpec = msgspec.field(default_factory=ClaimSpec)
    status: ClaimStatus = msgspec.field(default_factory=ClaimStatus)
