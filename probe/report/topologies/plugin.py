"""What extends a probe."""

from __future__ import annotations

from probe.report.schema import Topology, counter, integer, ref, symbol, text, texts

TOPOLOGY = Topology(
    name="plugin",
    label="Plugins",
    identity="host;name of its socket",
    columns=(
        ref("host", "host", "Where it runs."),
        text("label", "What it calls itself."),
        text("description", "What it says it does."),
        texts("interfaces", "What it offers: reporter, controller."),
        texts("columns", "Columns that it adds: `x:PLUGIN:KEY=label, unit`."),
        texts("controls", "What it offers to do: `KEY=label`; nothing is done without a grant."),
        symbol("state", "full, or failed."),
        text("problem", "What went wrong last."),
        integer("nodes", "Nodes that it tells something of."),
        integer("left_out", "Values that were too many, or of nodes that are not here."),
        counter("failures", "Times that it did not tell what it should."),
    ),
)
