"""Elasticsearch without its operator: servers of one cluster, who know each other by certificates.

A script makes the folder of settings, because the image's own lies on a root that nobody writes to,
and Elasticsearch reads certificates from nowhere else. Written for the official image of versions
8.8 and later (`docs`: Install Elasticsearch with Docker; `elasticsearch-keystore add --stdin`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum

from components.base import Placing
from components.errors import ArgumentsError
from components.workload import (
    Certificate,
    Issuer,
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

NAME = "logs"
TIER = "logs"
USER_SECRET = SecretFiles("logs-es-elastic-user", ("elastic",))
"""Password of the user `elastic`: a Secret that the operator makes, or somebody."""
TLS_SECRET = "logs-tls"  # noqa: S105 - the name of a Secret
_DATA = "data"
# Of the official image.
_USER = 1000
_VERSION_MIN = (8, 8, 0)
_HOME = "/usr/share/elasticsearch"


class Operation(StrEnum):
    """Who runs Elasticsearch: `eck`, Elastic's operator, or `plain`, nobody."""

    ECK = "eck"
    PLAIN = "plain"


def check_version(text: str) -> str:
    """Refuse a version that these servers cannot be of; returns it.

    Raises:
        ArgumentsError: as said above.
    """
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", text)
    if found is None or tuple(map(int, found.groups())) < _VERSION_MIN:
        msg = (
            "expected a version of Elasticsearch such as 9.5.2, 8.8.0 or newer (older ones cannot "
            f"run without rights), saw {text!r}"
        )
        raise ArgumentsError(msg)
    return text


@dataclass(frozen=True)
class ElasticsearchArgs:
    """`issuer` makes the certificate; None: somebody has made the Secret `logs-tls`.

    Raises:
        ArgumentsError: there could be no quorum, or no heap.
    """

    image: str | None
    replicas: int = 3
    memory_mb: int = 2048
    issuer: Issuer | None = None

    def __post_init__(self) -> None:
        if self.replicas < 1 or self.replicas == 2:  # noqa: PLR2004 - a quorum of two is both
            msg = f"expected one server of Elasticsearch, or three or more, saw {self.replicas}"
            raise ArgumentsError(msg)
        if self.memory_mb < 1024:  # noqa: PLR2004 - MB, half of it heap
            msg = f"expected 1024 MB or more for each server, saw {self.memory_mb}"
            raise ArgumentsError(msg)


def workload(args: ElasticsearchArgs, placing: Placing) -> Workload:
    """Its servers."""
    names = [f"{NAME}-{index}" for index in range(args.replicas)]
    ends = [
        placing.target.endpoint(NAME, None, PortRole.ELASTICSEARCH, index)
        for index in range(args.replicas)
    ]
    nodes = placing.target.endpoint(NAME, None, PortRole.ELASTICSEARCH_NODES, 0)
    ports = {PortRole.ELASTICSEARCH: ends[0].port, PortRole.ELASTICSEARCH_NODES: nodes.port}
    settings = {
        "cluster.name": NAME,
        "network.host": placing.target.listen_host(),
        "http.port": ends[0].port,
        "transport.port": nodes.port,
        "path.data": f"{placing.target.directory(names[0])}/{_DATA}",
        # Otherwise nodes need another `vm.max_map_count`.
        "node.store.allow_mmap": False,
        "ingest.geoip.downloader.enabled": False,
        "xpack.security.enabled": True,
        **_tls("transport"),
        **_tls("http"),
        **_quorum(names, [end.host for end in ends]),
    }
    script = render(settings, args.memory_mb // 2, placing.target.certificate_dir())
    hosts = tuple(end.host for end in ends)
    return Workload(
        name=NAME,
        tier=TIER,
        color=None,
        shape=Shape.STATEFUL,
        program=Program(("bash",), args.image),
        members=tuple(Member(name, index, script, ports) for index, name in enumerate(names)),
        config_suffix=".sh",
        arguments=("{config}",),
        readiness=Readiness(Probe.TCP, PortRole.ELASTICSEARCH),
        volumes=(_DATA,),
        needs=Needs(memory_mb=args.memory_mb, cpus=0.5),
        client_ports=(PortRole.ELASTICSEARCH,),
        stop_timeout_s=120,
        user=_USER,
        certificate=Certificate(TLS_SECRET, args.issuer, hosts),
        others_secrets=(USER_SECRET,),
    )


def _tls(layer: str) -> dict[str, object]:
    prefix = f"xpack.security.{layer}.ssl"
    found: dict[str, object] = {
        f"{prefix}.enabled": True,
        f"{prefix}.key": "tls/tls.key",
        f"{prefix}.certificate": "tls/tls.crt",
        f"{prefix}.certificate_authorities": ["tls/ca.crt"],
    }
    if layer == "transport":
        found[f"{prefix}.client_authentication"] = "required"
        # Nodes know each other by addresses of pods, which no certificate names.
        found[f"{prefix}.verification_mode"] = "certificate"
    return found


def _quorum(names: list[str], hosts: list[str]) -> dict[str, object]:
    if len(names) == 1:
        return {"discovery.type": "single-node"}
    # Of no meaning once the cluster has begun: its state says who belongs to it.
    return {"discovery.seed_hosts": hosts, "cluster.initial_master_nodes": names}


def render(
    settings: dict[str, object], heap_mb: int, certificates: str, *, home: str = _HOME
) -> str:
    """The script that a server begins with."""
    # YAML reads JSON.
    document = json.dumps(settings, indent=2)
    return f"""\
set -eu
config=/tmp/config
rm -rf "$config"
mkdir -p "$config/tls" /tmp/logs
cp -R {home}/config/. "$config/"
cp {certificates}/tls.key {certificates}/tls.crt {certificates}/ca.crt "$config/tls/"
cat > "$config/elasticsearch.yml" <<'END'
{document}
END
# Where the virtual machine writes by itself.
sed -i -e 's#=logs/#=/tmp/logs/#; s#HeapDumpPath=data#HeapDumpPath=/tmp#' "$config/jvm.options"
export ES_PATH_CONF="$config" ES_TMPDIR=/tmp ES_JAVA_OPTS="-Xms{heap_mb}m -Xmx{heap_mb}m"
rm -f "$config/elasticsearch.keystore"
{home}/bin/elasticsearch-keystore create
{home}/bin/elasticsearch-keystore add --stdin --force bootstrap.password \\
    < {USER_SECRET.path("elastic")}
exec {home}/bin/elasticsearch "-Enode.name=$MEMBER"
"""
