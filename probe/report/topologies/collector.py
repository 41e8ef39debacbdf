"""What the probe can see here, and what that costs."""

from __future__ import annotations

from probe.report.schema import Topology, counter, gauge, ref, symbol, text, texts

TOPOLOGY = Topology(
    name="collector",
    label="Collectors",
    identity="host;name",
    columns=(
        ref("host", "host", "Where it collects."),
        symbol("state", "full, partial, absent or failed."),
        symbol("mode", "How it looks: docker events, socket diagnostics."),
        texts("misses", "What it cannot see, and what would add it."),
        text("problem", "What went wrong last."),
        gauge("interval_s", "Time between two looks, as degradation has it now.", "s"),
        gauge("cpu_ms_per_s", "Processor time that it uses.", "ms/s"),
        counter("failures", "Looks that failed."),
        counter("restarts", "How often the watchdog restarted it."),
    ),
)
