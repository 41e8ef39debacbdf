"""Workloads as Kubernetes objects.

A workload becomes a ConfigMap with the rendered file of every member, a headless Service for stable
names, a policy of who may reach it, the pods (components.targets.pods), and for members that must
not all be away at once a PodDisruptionBudget. Objects are applied with the right to take back
fields that somebody changed by hand: an update makes what is declared.

Two namespaces: one that admits only pods of the `restricted` level, and one for agents and who else
lies on nodes, whom no such level admits; the reasons of each stand there as an annotation. Secrets
are mounted from one Secret that somebody else fills; nothing here sees a value.
"""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
import pulumi_kubernetes
from pulumi_kubernetes import apps, core, networking, policy
from pulumi_kubernetes import meta as k8s_meta

from components.errors import ArgumentsError
from components.security.secrets import SecretStore
from components.targets import api_access, caretaker, custom, namespaces, pod_ports, pods
from components.targets.image import check_image
from components.targets.namespaces import TAKE_BACK
from components.targets.network import Reach
from components.targets.restarting import CLAIM
from components.workload import (
    ApiRule,
    Endpoint,
    PortRole,
    Program,
    Replacing,
    Shape,
    Spread,
    Workload,
)

_WHY_PRIVILEGED = (
    "agents start other people's containers: they need the node's network (an agent is its "
    "address), its processes, its control groups, and a folder of it"
)


class KubernetesTarget:
    """Runs workloads in two namespaces of the cluster that Pulumi's provider is configured for.

    `node_networks` are the networks of its nodes, as agents are seen from pods; `volume_gib` is the
    size of each claimed volume; pods must be ready within `ready_timeout_s`. `caretaker_program`
    executes `controllers.caretaker`, for workloads whose pods are replaced in an order of their own
    or whose volumes are copied; `api_networks` are those of the API's servers, the nodes' when
    None. `beside_agents` are reasons of others than agents who lie in their namespace.
    """

    def __init__(  # noqa: PLR0913 - by keyword, one a key of the configuration
        self,
        *,
        namespace: str,
        storage_class: str | None,
        volume_gib: int,
        node_networks: Sequence[str],
        spread: Spread = Spread.HOSTS,
        ready_timeout_s: int = 600,
        caretaker_program: Program | None = None,
        api_networks: Sequence[str] | None = None,
        beside_agents: Sequence[str] = (),
    ) -> None:
        self._namespace = namespace
        self._storage_class = storage_class
        self._volume_gib = volume_gib
        networks = node_networks if api_networks is None else api_networks
        self._reach = Reach(
            tuple(node_networks),
            pod_ports.all_ports(),
            tuple(networks),
            (namespace, f"{namespace}-agents"),
        )
        self._why_privileged = "; ".join([_WHY_PRIVILEGED, *beside_agents])
        self._caretaker_program = caretaker_program
        self._spread = spread
        self._ready_timeout_s = ready_timeout_s
        self._provider: pulumi.ProviderResource | None = None

    def declare_base(self, opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
        """Declare the provider and the namespaces that everything else lies in.

        Called before any `run`; returns what everything else depends on.
        """
        self._provider = pulumi_kubernetes.Provider(
            "kubernetes",
            enable_server_side_apply=True,
            # Otherwise a changed file would replace its ConfigMap, which no migration may do.
            enable_config_map_mutable=True,
            opts=opts,
        )
        inside = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(provider=self._provider))
        return [
            *namespaces.declare("namespace", self._namespace, "restricted", {}, inside),
            *namespaces.declare(
                "namespace-agents",
                self._agents_namespace,
                "privileged",
                {"mesos-platform/why-privileged": self._why_privileged},
                inside,
            ),
        ]

    def declare_account(
        self,
        name: str,
        rules: Sequence[ApiRule],
        opts: pulumi.ResourceOptions,
        *,
        labels: dict[str, str] | None = None,
    ) -> list[pulumi.Resource]:
        """Declare a service account, and what it may do; returns what pods that use it wait for."""

        def place(*, per_node: bool) -> k8s_meta.v1.ObjectMetaArgs:
            namespace = self._agents_namespace if per_node else self._namespace
            return k8s_meta.v1.ObjectMetaArgs(
                name=name, namespace=namespace, labels=labels, annotations=TAKE_BACK
            )

        inside = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(provider=self._provider))
        return api_access.declare(name, rules, place, inside)

    def declare_guest(self, workload: Workload, opts: pulumi.ResourceOptions) -> None:
        """Declare what a pod needs that somebody else makes: its account, and whom it may reach."""
        inside = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(provider=self._provider))
        labels = pods.labels(workload)
        self.declare_account(workload.name, workload.api_rules, inside, labels=labels)
        self.declare_policy(workload, inside)

    @property
    def provider(self) -> pulumi.ProviderResource | None:
        """What objects of other components are made by; None before `declare_base`."""
        return self._provider

    @property
    def _agents_namespace(self) -> str:
        return f"{self._namespace}-agents"

    def listen_host(self) -> str:
        """Every address of the pod."""
        return "0.0.0.0"  # noqa: S104 - a pod's own network; who may reach it is a policy's matter

    def endpoint(self, workload: str, color: str | None, role: PortRole, index: int) -> Endpoint:
        """Stable name of a member, by its headless Service."""
        namespace = self._agents_namespace if role is PortRole.AGENT else self._namespace
        host = f"{workload}-{index}.{workload}.{namespace}.svc"
        return Endpoint(host, pod_ports.port(role, color))

    @property
    def has_nodes(self) -> bool:
        """Agents are pods of DaemonSets, known by the addresses of their nodes."""
        return True

    def task_ports(self, color: str, index: int) -> tuple[int, int] | None:
        """Half of an agent's usual ones: in a migration both colours' may share a node."""
        del index
        return pod_ports.TASK_PORTS[color]

    def directory(self, member: str) -> str:
        """Every member has a file system of its own; its folder is called like its workload."""
        return pods.state_dir(member.rpartition("-")[0])

    def private_dir(self, member: str) -> str:
        """The same in every pod that has one; it lies in memory and ends with the pod."""
        del member
        return pods.PRIVATE_DIR

    secrets_dir = pods.SECRETS_DIR
    """Where every pod finds the secrets that it has."""

    def secret(self, secret: str) -> str:
        """File that holds a secret."""
        return f"{self.secrets_dir}/{secret}"

    def certificate_dir(self) -> str:
        """Folder with the files of a workload's certificate."""
        return pods.CERTIFICATE_DIR

    def fill_secret(
        self, store: SecretStore, keys: Sequence[str], *, per_node: bool, parent: pulumi.Resource
    ) -> pulumi.Resource:
        """Declare what fills the Secret of pods, or of those of agents, from a store."""
        metadata = k8s_meta.v1.ObjectMetaArgs(
            name=pods.SECRETS_OBJECT,
            namespace=self._agents_namespace if per_node else self._namespace,
            annotations=TAKE_BACK,
        )
        name = "secrets-agents" if per_node else "secrets-platform"
        opts = pulumi.ResourceOptions(parent=parent, provider=self._provider)
        return custom.filled_secret(
            name, metadata, secret=pods.SECRETS_OBJECT, store=store, keys=keys, opts=opts
        )

    def run(
        self,
        workload: Workload,
        *,
        parent: pulumi.Resource,
        depends_on: Sequence[pulumi.Resource],
        protect: bool,
    ) -> list[pulumi.Resource]:
        """Declare what runs a workload, and what looks after it; returns its pods."""
        if workload.program.image is None:
            msg = f"{workload.name}: expected an image to run on Kubernetes, saw none"
            raise ArgumentsError(msg)
        check_image(workload.program.image)
        opts = pulumi.ResourceOptions(
            parent=parent,
            depends_on=list(depends_on),
            protect=protect,
            provider=self._provider,
        )
        files = core.v1.ConfigMap(
            workload.name,
            metadata=self._metadata(workload),
            data=pods.files(workload),
            opts=opts,
        )
        first: list[pulumi.Resource] = [
            files,
            *self._declare_services(workload, opts),
            self.declare_policy(workload, opts),
            *self._declare_custom(workload, opts),
            *self.declare_account(
                workload.name, workload.api_rules, opts, labels=pods.labels(workload)
            ),
        ]
        if len(workload.members) > 1 and workload.shape is not Shape.PER_NODE:
            budget = policy.v1.PodDisruptionBudget(
                workload.name,
                metadata=self._metadata(workload),
                spec=policy.v1.PodDisruptionBudgetSpecArgs(
                    max_unavailable=1,
                    selector=k8s_meta.v1.LabelSelectorArgs(match_labels=pods.labels(workload)),
                ),
                opts=opts,
            )
            first.append(budget)
        # A pod that starts anew must find its new file; and while pods cannot be removed, nothing
        # of what they need is: their names, who may reach them, how many may be away.
        bound = f"{self._ready_timeout_s}s"
        after = pulumi.ResourceOptions(
            depends_on=first,
            custom_timeouts=pulumi.CustomTimeouts(create=bound, update=bound, delete=bound),
        )
        made = self._declare_pods(workload, pulumi.ResourceOptions.merge(opts, after))
        if caretaker.is_needed(workload):
            self._declare_caretaker(workload, made, parent=parent, protect=protect)
        return [made]

    def declare_policy(self, workload: Workload, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        """Declare who may reach a workload's pods, and whom they may: also of pods that somebody
        else makes, with the workload's labels."""
        return networking.v1.NetworkPolicy(
            workload.name,
            metadata=self._metadata(workload),
            spec=self._reach.spec(workload, pods.labels(workload)),
            opts=opts,
        )

    def _declare_caretaker(
        self, workload: Workload, made: pulumi.Resource, *, parent: pulumi.Resource, protect: bool
    ) -> None:
        credential = caretaker.credential_of(workload)
        after = caretaker.caretaker(
            workload,
            self._caretaker_program,
            namespace=self._namespace_of(workload),
            labels=pods.labels(workload),
            credential_file=self.secret(credential) if credential else None,
        )
        keeps = protect and not caretaker.comes_and_goes(workload)
        self.run(after, parent=parent, depends_on=[made], protect=keeps)

    def _declare_custom(
        self, workload: Workload, opts: pulumi.ResourceOptions
    ) -> list[pulumi.Resource]:
        """Objects of kinds that a cluster may not know."""
        found: list[pulumi.Resource] = []
        if workload.certificate and workload.certificate.issuer:
            namespace = self._namespace_of(workload)
            hosts = [*workload.certificate.hosts, f"{workload.name}-client.{namespace}.svc"]
            metadata = self._metadata(workload)
            found.append(
                custom.certificate(workload.name, metadata, workload.certificate, hosts, opts)
            )
        if workload.snapshots:
            # It lies in no namespace.
            name = caretaker.name_of(workload)
            metadata = k8s_meta.v1.ObjectMetaArgs(
                name=f"{self._namespace_of(workload)}-{name}",
                labels=pods.labels(workload),
                annotations=TAKE_BACK,
            )
            found.append(custom.snapshot_class(name, metadata, workload.snapshots, opts))
        return found

    def _declare_services(
        self, workload: Workload, opts: pulumi.ResourceOptions
    ) -> list[pulumi.Resource]:
        if not workload.members[0].ports:
            return []

        member = workload.members[0]
        headless = core.v1.Service(
            workload.name,
            metadata=self._metadata(workload),
            spec=core.v1.ServiceSpecArgs(
                cluster_ip="None",
                # Members of a quorum must find each other before they are ready.
                publish_not_ready_addresses=True,
                selector=pods.labels(workload),
                ports=pod_ports.of_service(member, list(member.ports)),
            ),
            opts=opts,
        )
        if not workload.client_ports:
            return [headless]
        name = f"{workload.name}-client"
        client = core.v1.Service(
            name,
            metadata=self._metadata(workload, name),
            spec=core.v1.ServiceSpecArgs(
                cluster_ip=workload.client_address,
                selector=pods.labels(workload),
                ports=pod_ports.of_service(member, workload.client_ports),
            ),
            opts=opts,
        )
        return [headless, client]

    def _namespace_of(self, workload: Workload) -> str:
        on_node = workload.shape is Shape.PER_NODE
        return self._agents_namespace if on_node else self._namespace

    def _metadata(self, workload: Workload, name: str | None = None) -> k8s_meta.v1.ObjectMetaArgs:
        return k8s_meta.v1.ObjectMetaArgs(
            name=name or workload.name,
            namespace=self._namespace_of(workload),
            labels=pods.labels(workload),
            annotations=TAKE_BACK,
        )

    def _declare_pods(self, workload: Workload, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        selector = k8s_meta.v1.LabelSelectorArgs(match_labels=pods.labels(workload))
        template = pods.template(workload, self._spread)
        metadata = self._metadata(workload)
        replicas = len(workload.members) if workload.running else 0
        match workload.shape:
            case Shape.STATEFUL:
                kept = apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicyArgs(
                    when_deleted="Retain", when_scaled="Retain"
                )
                spec = apps.v1.StatefulSetSpecArgs(
                    replicas=replicas,
                    service_name=workload.name,
                    selector=selector,
                    # Only together are members of a quorum ready.
                    pod_management_policy="Parallel",
                    update_strategy=None
                    if workload.replacement.order is Replacing.ROLLING
                    else apps.v1.StatefulSetUpdateStrategyArgs(type="OnDelete"),
                    template=template,
                    volume_claim_templates=self._claims(workload),
                    persistent_volume_claim_retention_policy=kept,
                )
                return apps.v1.StatefulSet(workload.name, metadata=metadata, spec=spec, opts=opts)
            case Shape.STATELESS:
                spec = apps.v1.DeploymentSpecArgs(
                    replicas=replicas, selector=selector, template=template
                )
                return apps.v1.Deployment(workload.name, metadata=metadata, spec=spec, opts=opts)
            case Shape.PER_NODE:
                # Whoever replaces an agent drains it first: its tasks would die with its pod.
                strategy = apps.v1.DaemonSetUpdateStrategyArgs(type="OnDelete")
                spec = apps.v1.DaemonSetSpecArgs(
                    selector=selector, template=template, update_strategy=strategy
                )
                return apps.v1.DaemonSet(workload.name, metadata=metadata, spec=spec, opts=opts)

    def _claims(self, workload: Workload) -> list[core.v1.PersistentVolumeClaimArgs] | None:
        if not workload.volumes:
            return None
        return [
            core.v1.PersistentVolumeClaimArgs(
                metadata=k8s_meta.v1.ObjectMetaArgs(name=CLAIM),
                spec=core.v1.PersistentVolumeClaimSpecArgs(
                    access_modes=["ReadWriteOnce"],
                    storage_class_name=self._storage_class,
                    resources=core.v1.VolumeResourceRequirementsArgs(
                        requests={"storage": f"{self._volume_gib}Gi"}
                    ),
                ),
            )
        ]
