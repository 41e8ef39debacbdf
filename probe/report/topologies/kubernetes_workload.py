"""What keeps pods of a Kubernetes cluster, or keeps what keeps them."""

from __future__ import annotations

from probe.report.schema import (
    Topology,
    Type,
    counter,
    flag,
    gauge,
    integer,
    ref,
    symbol,
    text,
    texts,
)

TOPOLOGY = Topology(
    name="kubernetes_workload",
    label="Kubernetes workloads",
    identity="the uid that the API server gave it",
    columns=(
        symbol("cluster", "Cluster, as the settings name it."),
        ref("namespace", "kubernetes_namespace", "Its namespace."),
        ref("owner", "kubernetes_workload", "What keeps it: a Deployment its ReplicaSets."),
        symbol("kind", "Deployment, StatefulSet, DaemonSet, ReplicaSet, Job or CronJob."),
        text("name", "Name."),
        gauge(
            "desired", "Pods that it should have; of a job, those that must succeed.", "", Type.INT
        ),
        gauge("ready", "Pods that are ready.", "", Type.INT),
        gauge("updated", "Pods of the newest revision.", "", Type.INT),
        gauge("active", "Pods of a job that run, or jobs of a cron job.", "", Type.INT),
        counter("succeeded", "Pods of a job that succeeded."),
        counter("failed", "Pods of a job that failed."),
        flag("paused", "It is suspended, or its roll-out is paused."),
        text("schedule", "When a cron job runs."),
        integer("last_run_ms", "When a cron job ran last.", "ms since 1970"),
        texts("images", "Images of its pods' containers."),
        integer("created_ms", "When it was made.", "ms since 1970"),
        texts("labels", "Labels, `name=value`, secrets redacted."),
    ),
)
