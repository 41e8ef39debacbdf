"""Where somebody listens."""

from __future__ import annotations

from probe.report.schema import Topology, integer, ref, symbol, text

TOPOLOGY = Topology(
    name="endpoint",
    label="Endpoints",
    identity="host;network namespace;protocol;address;port",
    columns=(
        ref("host", "host", "Where it listens."),
        ref("process", "process", "Who listens."),
        ref("container", "container", "In which container."),
        symbol("protocol", "tcp or udp."),
        text("address", "Address; `*` for all of them."),
        integer("port", "Port."),
        integer("namespace", "Network namespace, by its number; the host's own is left out."),
    ),
)
