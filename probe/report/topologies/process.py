"""A process; one that has ended and one that was given its pid are two nodes."""

from __future__ import annotations

from probe.report.schema import Topology, Type, gauge, integer, ref, symbol, text

TOPOLOGY = Topology(
    name="process",
    label="Processes",
    identity="host;pid;start time in clock ticks since boot",
    columns=(
        ref("host", "host", "Where it runs."),
        ref("container", "container", "The container that it runs in."),
        integer("pid", "Process id, as the host counts."),
        integer("ppid", "Process id of its parent."),
        text("name", "Name, as the kernel keeps it."),
        text("command_line", "Command line, secrets redacted."),
        symbol("user", "Number of its user."),
        integer("started_ms", "When it started.", "ms since 1970"),
        integer("open_files_max", "Limit of open files."),
        gauge("threads", "Threads.", "", Type.INT),
        gauge("cpu_percent", "Use of processors, 100 is one of them.", "%"),
        gauge("rss_bytes", "Resident memory.", "B", Type.INT),
        gauge("open_files", "Open files.", "", Type.INT),
    ),
)
