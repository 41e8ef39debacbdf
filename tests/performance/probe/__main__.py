"""Measure the probe: `python -m tests.performance.probe [--only ROW ...] [--quick]`.

Prints each figure beside its goal and beside Weave Scope's, measured on a machine of the same kind
in the same scenarios (1.13, without eBPF), and writes build/bench/probe.json. Never fails because
something was slow. Needs root, for namespaces and cgroups of its own, and cgroups of version 1.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from tests.performance import table
from tests.performance.probe import cluster_world, world
from tests.performance.probe.cluster_world import ClusterScenario
from tests.performance.probe.world import Result, Scenario
from tests.performance.sync import write
from tests.performance.table import Figure, Sense

OUTPUT = Path(__file__).resolve().parents[3] / "build" / "bench" / "probe.json"
_ANCHOR = "Scope"
_ROW_S = 400
_HOST_PROCESSES = 90

ROWS: dict[str, Scenario | ClusterScenario] = {
    "containers-50": Scenario(containers=50, processes=_HOST_PROCESSES),
    "containers-200": Scenario(containers=200, processes=_HOST_PROCESSES),
    "containers-1000": Scenario(containers=1000, processes=_HOST_PROCESSES, events=100),
    "networks-200": Scenario(containers=200, processes=_HOST_PROCESSES, own_networks=True),
    "networks-1000": Scenario(containers=1000, processes=_HOST_PROCESSES, own_networks=True),
    "processes-1097": Scenario(processes=1097),
    "connections-2000": Scenario(connections=2_000),
    "connections-10000": Scenario(connections=10_000),
    "edges-tracked": Scenario(short=300, window_s=1, warm_s=4),
    "edges-untracked": Scenario(short=300, window_s=1, warm_s=4, tracked=False),
    "containers-1000-real": Scenario(containers=1000, processes=_HOST_PROCESSES, moving=False),
    "pods-1000": ClusterScenario(pods=1_000),
    "pods-5000": ClusterScenario(pods=5_000),
}
# row → what is measured, its goal and Scope's figure: processor, memory, bytes a second.
_Pair = tuple[float, float | None]
_GOALS: dict[str, tuple[str, _Pair, _Pair, _Pair | None]] = {
    "containers-50": ("50 containers", (1, 2.4), (40, 101), (1, 7.5)),
    "containers-200": ("200 containers", (1.5, 5.7), (45, 146), None),
    "containers-1000": ("1,000 containers", (4, 19.7), (65, 358), (6, 108)),
    "containers-1000-real": ("1,000 idle containers, real cgroups", (4, 19.7), (65, 358), None),
    "networks-200": ("200 containers with networks of their own", (1.5, None), (45, None), None),
    "networks-1000": ("1,000 containers with networks of their own", (4, None), (65, None), None),
    "processes-1097": ("1,097 processes", (2, 5.9), (45, 102), None),
    "connections-2000": ("2,000 connections", (2.5, 6.6), (45, 159), None),
    "connections-10000": ("10,000 connections", (6, 38.2), (65, 878), None),
    # A node's budget, and the one that docs/probe.md gives to whoever watches a cluster.
    "pods-1000": ("1,000 pods, 10 change a second", (5, None), (100, None), None),
    "pods-5000": ("5,000 pods, 50 change a second", (10, None), (150, None), None),
}


def figures(name: str, result: Result) -> Iterator[Figure]:
    """What a row comes to."""
    if name in _GOALS:
        what, (cpu, cpu_anchor), (rss, rss_anchor), wire = _GOALS[name]
        costs = ", ".join(f"{n} {ms:.1f}" for n, ms in result.collectors.items())
        nodes = ", ".join(f"{count} {kind}" for kind, count in result.nodes.items())
        reports = f"{result.reports} reports in {ROWS[name].window_s:g} s"
        note = f"{nodes}; {reports}; ms/s: {costs}; load {os.getloadavg()[0]:.0f}"
        if result.degraded:
            note = f"{note}; degraded: {result.degraded}"
        whose = _ANCHOR if cpu_anchor is not None else ""
        yield Figure(f"processor, {what}", "%", result.cpu_percent, cpu, anchor=cpu_anchor,
                     anchor_name=whose, note=note)  # fmt: skip
        yield Figure(f"resident memory, {what}", "MB", result.rss_mb, rss, anchor=rss_anchor,
                     anchor_name=whose)  # fmt: skip
        if wire is not None:
            yield Figure(f"wire, {what}, all counters move", "kB/s", result.bytes_per_s / 1e3,
                         wire[0], anchor=wire[1], anchor_name=_ANCHOR)  # fmt: skip
    if result.event_ms:
        yield Figure("container event to report sent, p95", "ms", world.p95(result.event_ms), 200,
                     anchor=3000, anchor_name="Scope: one publish period",
                     note=_latencies(result.event_ms))  # fmt: skip
    if result.wanted:
        mode = result.modes["connections"]
        target = 99 if "tracking" in mode else None
        share = 100 * result.found / result.wanted
        yield Figure(f"edges found of connections of 100 ms: {mode}", "%", share, target,
                     Sense.AT_LEAST, note=f"{result.found} of {result.wanted}")  # fmt: skip
        yield Figure(f"false edges: {mode}", "", result.false, 0)


def _latencies(took: list[float]) -> str:
    middle, least = statistics.median(took), min(took)
    load = os.getloadavg()[0]
    return f"{len(took)} events, median {middle:.0f} ms, least {least:.0f} ms; load {load:.1f}"


def measure(scenario: Scenario | ClusterScenario) -> Result:
    """Run a scenario in network, process and mount namespaces of its own."""
    module = world if isinstance(scenario, Scenario) else cluster_world
    inside = 'ip link set lo up && exec "$@"'
    done = subprocess.run(
        [
            *("unshare", "--net", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"),
            *("sh", "-c", inside, "sh", sys.executable, "-m", module.__name__),
            json.dumps(asdict(scenario)),
        ],
        stdout=subprocess.PIPE,
        check=True,
        timeout=_ROW_S,
    )
    return Result(**json.loads(done.stdout))


def _quick(scenario: Scenario | ClusterScenario) -> Scenario | ClusterScenario:
    if isinstance(scenario, ClusterScenario):
        return replace(scenario, pods=scenario.pods // 10, warm_s=4, window_s=6)
    return replace(
        scenario,
        containers=scenario.containers // 10,
        processes=scenario.processes // 10,
        connections=scenario.connections // 10,
        events=scenario.events // 10,
        short=scenario.short // 10,
        warm_s=4,
        window_s=6,
    )


def _measured(names: Sequence[str], *, is_quick: bool) -> Iterator[Figure]:
    for name in names:
        try:
            scenario = _quick(ROWS[name]) if is_quick else ROWS[name]
            yield from figures(name, measure(scenario))
        except (subprocess.SubprocessError, ValueError, OSError) as error:
            traceback.print_exc()
            yield Figure(f"row {name!r}", "", None, note=f"{type(error).__name__}: {error}")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it works")
    given = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("expected root, for namespaces and cgroups of the scenario's own: use sudo")
    sys.stdout.write(f"{table.head()}\n")
    found: list[Figure] = []
    for figure in _measured(given.only, is_quick=given.quick):
        found.append(figure)
        sys.stdout.write(f"{table.as_text(figure)}\n")
        sys.stdout.flush()
    write(found, OUTPUT)
    sys.stdout.write(f"written to {OUTPUT}\n")
    sys.exit(any(figure.measured is None for figure in found))


if __name__ == "__main__":
    main()
