"""A machine, or what a kernel calls one."""

from __future__ import annotations

from probe.report.schema import (
    Topology,
    Type,
    counter,
    flag,
    gauge,
    integer,
    symbol,
    text,
    texts,
)

TOPOLOGY = Topology(
    name="host",
    label="Hosts",
    identity="the host name, or what the settings say",
    columns=(
        text("name", "Host name."),
        symbol("os", "Operating system, as its release file names it."),
        symbol("kernel", "Release of the kernel."),
        integer("boot_time_ms", "When it started.", "ms since 1970"),
        texts("addresses", "Interfaces with their addresses: `eth0 10.0.0.5/24`."),
        texts("networks", "Networks that it is part of."),
        integer("cpus", "Processors.", ""),
        integer("memory_total_bytes", "Memory.", "B"),
        integer("disk_total_bytes", "Size of the root file system.", "B"),
        gauge("cpu_percent", "Use of all processors, 100 is all of them.", "%"),
        gauge("memory_used_bytes", "Memory that is not available.", "B", Type.INT),
        gauge("disk_used_bytes", "Used part of the root file system.", "B", Type.INT),
        gauge("load1", "Load average of one minute.", ""),
        gauge(
            "pressure_cpu_percent", "Share of 10 s in which something waited for a processor.", "%"
        ),
        gauge("pressure_memory_percent", "The same for memory.", "%"),
        gauge("pressure_io_percent", "The same for input and output.", "%"),
        gauge("processes", "Processes.", "", Type.INT),
        counter("containers_started", "Starts of containers since the probe looks, by Docker."),
        counter("processes_started", "Processes and threads begun since boot, short ones too."),
        text("probe_version", "Version of the probe that tells this."),
        flag("read_only", "The probe refuses every act."),
        texts("controls", "Controls that the probe would carry out, by grant; empty: none."),
    ),
)
