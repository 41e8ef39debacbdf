"""A container of any runtime."""

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
    name="container",
    label="Containers",
    identity="the id that its runtime gave it",
    columns=(
        ref("host", "host", "Where it runs."),
        ref("image", "container_image", "Image that it was made of."),
        ref("task", "mesos_task", "Mesos task that it runs."),
        text("name", "Name."),
        symbol("image_name", "Name of the image, as it was asked for."),
        symbol("runtime", "docker, containerd or mesos."),
        symbol("state", "created, running, paused, restarting, exited or dead."),
        symbol("health", "starting, healthy or unhealthy; unknown without a check."),
        text("command", "Command, secrets redacted."),
        text("hostname", "Host name inside."),
        integer("pid", "Its first process, as the host counts."),
        integer("created_ms", "When it was made.", "ms since 1970"),
        integer("started_ms", "When it started last.", "ms since 1970"),
        integer("exit_code", "How it ended last."),
        counter("restarts", "How often its runtime restarted it."),
        texts("networks", "Networks that it is attached to."),
        texts("addresses", "Its addresses."),
        texts("ports", "Published ports: `0.0.0.0:8080->80/tcp`."),
        texts("labels", "Labels, `name=value`, secrets redacted."),
        flag("host_network", "It uses the network of its host."),
        flag("pause", "It only holds a pod's namespaces."),
        integer("cpu_limit_percent", "Limit of processor use, 100 is one processor.", "%"),
        integer("memory_limit_bytes", "Limit of memory.", "B"),
        gauge("cpu_percent", "Use of processors, 100 is one of them.", "%"),
        gauge("memory_bytes", "Memory in use, caches included.", "B", Type.INT),
        gauge("io_read_bytes_per_s", "Read from block devices.", "B/s", Type.INT),
        gauge("io_write_bytes_per_s", "Written to block devices.", "B/s", Type.INT),
        gauge("net_received_bytes_per_s", "Received on its interfaces.", "B/s", Type.INT),
        gauge("net_sent_bytes_per_s", "Sent on its interfaces.", "B/s", Type.INT),
    ),
)
