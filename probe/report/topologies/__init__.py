"""All topologies, one file a kind. The order is that of their names."""

from __future__ import annotations

from collections.abc import Mapping

from probe.report.schema import Topology
from probe.report.topologies import (
    collector,
    connection,
    container,
    container_image,
    endpoint,
    host,
    kubernetes_claim,
    kubernetes_gateway,
    kubernetes_ingress,
    kubernetes_namespace,
    kubernetes_node,
    kubernetes_pod,
    kubernetes_service,
    kubernetes_volume,
    kubernetes_workload,
    marathon,
    marathon_app,
    mesos_agent,
    mesos_framework,
    mesos_master,
    mesos_role,
    mesos_task,
    plugin,
    process,
    sync_engine,
    zookeeper_ensemble,
    zookeeper_server,
)

_MODULES = (
    collector,
    connection,
    container,
    container_image,
    endpoint,
    host,
    kubernetes_claim,
    kubernetes_gateway,
    kubernetes_ingress,
    kubernetes_namespace,
    kubernetes_node,
    kubernetes_pod,
    kubernetes_service,
    kubernetes_volume,
    kubernetes_workload,
    marathon,
    marathon_app,
    mesos_agent,
    mesos_framework,
    mesos_master,
    mesos_role,
    mesos_task,
    plugin,
    process,
    sync_engine,
    zookeeper_ensemble,
    zookeeper_server,
)
TOPOLOGIES: Mapping[str, Topology] = {module.TOPOLOGY.name: module.TOPOLOGY for module in _MODULES}
