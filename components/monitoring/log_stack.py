"""Logs of a stack in Elasticsearch: servers, who reads on nodes, and who keeps settings.

Servers are declared to Elastic's operator (ECK), or run without it; both serve by TLS alone, and
the user `elastic` has its password in the Secret `logs-es-elastic-user`: with the operator it makes
it, without one somebody does, in both namespaces, like the Secret `logs-tls` where no issuer is
named. No value of either is ever seen here.

Objects are proved on a real API server, and patterns on lines of real logs by the library that
Elasticsearch has for them; neither Elasticsearch nor Filebeat has run in this project's tests.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi_kubernetes import core
from pulumi_kubernetes import meta as k8s_meta

from components.base import Placing, token
from components.monitoring import elasticsearch, logs, shipping
from components.monitoring.elasticsearch import (
    TLS_SECRET,
    USER_SECRET,
    ElasticsearchArgs,
    Operation,
    check_version,
)
from components.monitoring.logs import Keeping, Sources
from components.targets import custom, pods
from components.targets.hardening import Pod
from components.targets.image import check_image
from components.targets.kubernetes import KubernetesTarget
from components.targets.namespaces import TAKE_BACK
from components.workload import (
    Member,
    Needs,
    PortRole,
    Probe,
    Program,
    Readiness,
    SecretFiles,
    Shape,
    Workload,
)

ELASTICSEARCH = ("elasticsearch.k8s.elastic.co/v1", "Elasticsearch")
BEAT = ("beat.k8s.elastic.co/v1beta1", "Beat")
KEEPER = "logs-keeper"
_KEEPER_TIER = "log-keeper"


@dataclass(frozen=True)
class LoggingArgs:
    """`elasticsearch` and `filebeat` are images of `version`; `keeper` executes
    `controllers.log_keeper`. `namespace` and `agents_namespace` are the stack's. `has_marathon`
    says that the real Marathon runs: what its stand-in writes are no lines of Java.

    Raises:
        ArgumentsError: the version is none that this is written for.
    """

    namespace: str
    agents_namespace: str
    servers: ElasticsearchArgs
    filebeat: str
    keeper: Program
    version: str
    operation: Operation = Operation.ECK
    keeping: Keeping = field(default_factory=Keeping)
    colors: tuple[str, ...] = ("blue", "green")
    storage_class: str | None = None
    volume_gib: int = 10
    tolerations: tuple[str, ...] = ()
    has_marathon: bool = False

    def __post_init__(self) -> None:
        check_version(self.version)

    @property
    def url(self) -> str:
        """Where Elasticsearch is reached."""
        service = "logs-es-http" if self.operation is Operation.ECK else "logs-client"
        return f"https://{service}.{self.namespace}.svc:9200"

    @property
    def authority(self) -> SecretFiles:
        """Whom its clients believe."""
        if self.operation is Operation.ECK:
            return SecretFiles("logs-es-http-certs-public", ("ca.crt",))
        return SecretFiles(TLS_SECRET, ("ca.crt",))

    @property
    def sources(self) -> Sources:
        """Where logs lie on nodes."""
        own = f"/var/log/pods/{self.namespace}"
        work = f"{pods.STATE_DIR}/{{}}-agents*/work"
        return Sources(
            {
                color: (
                    f"{own}_{color}-masters-*_*/masters/*.log",
                    f"/var/log/pods/{self.agents_namespace}_{color}-agents-*_*/agents/*.log",
                )
                for color in self.colors
            },
            {color: (work.format(color),) for color in self.colors},
            {color: (f"{own}_{color}-zookeeper-*_*/zookeeper/*.log",) for color in self.colors},
            # Not those who copy its state and tell its metrics.
            (f"{own}_frameworks-marathon-[0-9]*_*/frameworks/*.log",) if self.has_marathon else (),
        )


class Logging(pulumi.ComponentResource):
    """All of it; `url` is where logs are read."""

    url: str

    def __init__(self, name: str, args: LoggingArgs, placing: Placing) -> None:
        opts = pulumi.ResourceOptions(depends_on=list(placing.depends_on))
        super().__init__(token("monitoring", "Logging"), name, {}, opts)
        assert isinstance(placing.target, KubernetesTarget)
        self._args, self._target, self._placing = args, placing.target, placing
        self._opts = pulumi.ResourceOptions(
            parent=self, provider=placing.target.provider, depends_on=list(placing.depends_on)
        )
        self.url = args.url
        servers = elasticsearch.workload(args.servers, placing)
        made = self._declare_servers(servers)
        # What comes before its template is kept for ever, in an index of no life cycle.
        told = self._run(keeper(args, placing), [*placing.depends_on, *made])
        self._declare_filebeat(told)
        self.register_outputs({"url": self.url})

    def _run(self, workload: Workload, depends_on: Any) -> list[pulumi.Resource]:
        return self._target.run(workload, parent=self, depends_on=depends_on, protect=False)

    def _metadata(self, name: str, namespace: str) -> k8s_meta.v1.ObjectMetaArgs:
        return k8s_meta.v1.ObjectMetaArgs(name=name, namespace=namespace, annotations=TAKE_BACK)

    def _declare_servers(self, servers: Workload) -> list[pulumi.Resource]:
        args = self._args
        if args.operation is Operation.PLAIN:
            return self._run(servers, self._placing.depends_on)
        policy = self._target.declare_policy(servers, self._opts)
        spec = {"spec": elasticsearch_spec(args, servers)}
        metadata = self._metadata(servers.name, args.namespace)
        after = pulumi.ResourceOptions(depends_on=[policy])
        opts = pulumi.ResourceOptions.merge(self._opts, after)
        return [custom.foreign(servers.name, ELASTICSEARCH, metadata, spec, opts)]

    def _declare_filebeat(self, depends_on: list[pulumi.Resource]) -> None:
        args = self._args
        policy = self._target.declare_policy(shipping.value(args.filebeat), self._opts)
        metadata = self._metadata(shipping.NAME, args.agents_namespace)
        after = pulumi.ResourceOptions(depends_on=[*depends_on, policy])
        opts = pulumi.ResourceOptions.merge(self._opts, after)
        if args.operation is Operation.ECK:
            custom.foreign(shipping.NAME, BEAT, metadata, {"spec": beat_spec(args)}, opts)
            return
        output = logs.output_of(
            (args.url,),
            password_variable=shipping.PASSWORD_VARIABLE,
            ca_file=args.authority.path("ca.crt"),
        )
        config = json.dumps(logs.filebeat(args.sources, output), indent=2) + "\n"
        labels = pods.labels(shipping.value(args.filebeat))
        template = shipping.pod(labels, shipping.container(args.filebeat), args.tolerations)
        shipping.alone(template, config, USER_SECRET, args.authority)
        settings = core.v1.ConfigMap(
            shipping.NAME, metadata=metadata, data={"filebeat.yml": config}, opts=self._opts
        )
        spec = {
            "selector": {"matchLabels": labels},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
            "template": template,
        }
        after = pulumi.ResourceOptions(depends_on=[settings])
        custom.foreign(
            shipping.NAME,
            ("apps/v1", "DaemonSet"),
            metadata,
            {"spec": spec},
            pulumi.ResourceOptions.merge(opts, after),
        )


def elasticsearch_spec(args: LoggingArgs, servers: Workload) -> dict[str, Any]:
    """Of an Elasticsearch of ECK: the operator makes certificates, password, budget and services,
    and holds containers of 8.8 and later to `restricted` but for seccomp."""
    image = check_image(args.servers.image or "")
    memory = f"{args.servers.memory_mb}Mi"
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": f"{args.volume_gib}Gi"}},
        **({"storageClassName": args.storage_class} if args.storage_class else {}),
    }
    pod = {
        # What containers are held to, and which group their folders want, the operator knows.
        **Pod(servers.user, has_own_group=False).document(),
        "containers": [
            {
                "name": "elasticsearch",
                "resources": {
                    "requests": {"cpu": "500m", "memory": memory},
                    "limits": {"memory": memory},
                },
            }
        ],
    }
    nodes = {
        "name": "default",
        "count": args.servers.replicas,
        "config": {"node.store.allow_mmap": False, "ingest.geoip.downloader.enabled": False},
        "podTemplate": {"metadata": {"labels": pods.labels(servers)}, "spec": pod},
        "volumeClaimTemplates": [{"metadata": {"name": "elasticsearch-data"}, "spec": claim}],
    }
    # Volumes of a cluster that is removed stay, as those of ZooKeeper do.
    kept = {"volumeClaimDeletePolicy": "DeleteOnScaledownOnly"}
    return {"version": args.version, "image": image, "nodeSets": [nodes], **kept}


def beat_spec(args: LoggingArgs) -> dict[str, Any]:
    """Of a Beat of ECK, which completes the settings by address, password and authority."""
    labels = pods.labels(shipping.value(args.filebeat))
    container = shipping.container(args.filebeat)
    image = container.pop("image")
    return {
        "type": "filebeat",
        "version": args.version,
        "image": image,
        "elasticsearchRef": {"name": elasticsearch.NAME, "namespace": args.namespace},
        "config": logs.filebeat(args.sources, {}),
        "daemonSet": {"podTemplate": shipping.pod(labels, container, args.tolerations)},
    }


def keeper(args: LoggingArgs, placing: Placing) -> Workload:
    """Who keeps settings of Elasticsearch what is declared."""
    end = placing.target.endpoint(KEEPER, None, PortRole.LOG_KEEPER, 0)
    config: dict[str, Any] = {
        "url": args.url,
        "password_file": USER_SECRET.path("elastic"),
        "ca_file": args.authority.path("ca.crt"),
        "listen_host": placing.target.listen_host(),
        "listen_port": end.port,
        "documents": [
            {"path": path, "body": body, "mark": logs.mark(body)}
            for path, body in logs.requests(args.keeping)
        ],
    }
    text = json.dumps(config, indent=2) + "\n"
    return Workload(
        name=KEEPER,
        tier=_KEEPER_TIER,
        color=None,
        shape=Shape.STATEFUL,
        program=args.keeper,
        members=(Member(f"{KEEPER}-0", 0, text, {PortRole.LOG_KEEPER: end.port}),),
        config_suffix=".json",
        readiness=Readiness(Probe.HTTP, PortRole.LOG_KEEPER, path="/readyz"),
        needs=Needs(memory_mb=128, cpus=0.05),
        others_secrets=(USER_SECRET, args.authority),
    )
