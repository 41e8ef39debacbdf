"""A pod of a Kubernetes cluster."""

from __future__ import annotations

from probe.report.schema import Topology, counter, flag, integer, ref, symbol, text, texts

TOPOLOGY = Topology(
    name="kubernetes_pod",
    label="Kubernetes pods",
    identity="the uid that the API server gave it, which its containers' labels name",
    columns=(
        symbol("cluster", "Cluster, as the settings name it."),
        ref("namespace", "kubernetes_namespace", "Its namespace."),
        ref("workload", "kubernetes_workload", "What keeps it."),
        ref("node", "kubernetes_node", "Where it runs."),
        text("name", "Name."),
        symbol("phase", "Pending, Running, Succeeded, Failed or Unknown."),
        flag("ready", "It serves."),
        symbol("problem", "Why it is not as it should be: CrashLoopBackOff, Evicted."),
        texts("containers", "Ids of its containers: nodes of `container`."),
        texts("services", "Services that it is an endpoint of: nodes of `kubernetes_service`."),
        texts("claims", "Claims that it mounts: nodes of `kubernetes_claim`."),
        texts("addresses", "Its addresses."),
        texts("images", "Images of its containers."),
        flag("host_network", "It uses the network of its node."),
        symbol("service_account", "Who it is to the API server."),
        symbol("qos", "Guaranteed, Burstable or BestEffort."),
        counter("restarts", "How often its containers were restarted."),
        integer("created_ms", "When it was made.", "ms since 1970"),
        integer("started_ms", "When its node took it.", "ms since 1970"),
        texts("labels", "Labels, `name=value`, secrets redacted."),
    ),
)
