"""The master's metrics, under the names that real masters use.

Names that a real master always has are always there; what a stand-in does not count is 0, so that
dashboards and alerts written for the real one find every series. The per-operation and most of the
per-framework series are left out.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from stacks.local.mesos import values
from stacks.local.mesos.allocator import Allocator
from stacks.local.mesos.cluster import Cluster

Metrics = dict[str, float]
_PERCENTILES = (
    (50, "p50"),
    (90, "p90"),
    (95, "p95"),
    (99, "p99"),
    (99.9, "p999"),
    (99.99, "p9999"),
)
_ZERO = (
    "allocator/event_queue_dispatches",
    "allocator/mesos/event_queue_dispatches",
    *(f"master/{r}_revocable_{k}" for r in ("cpus", "disk", "gpus", "mem")
      for k in ("percent", "total", "used")),
    "master/dropped_messages",
    *(f"master/event_queue_{k}" for k in ("dispatches", "http_requests", "messages")),
    "master/http_cache_hits",
    *(f"master/invalid_{k}" for k in (
        "executor_to_framework_messages", "framework_to_executor_messages",
        "operation_status_update_acknowledgements", "operation_status_updates",
        "status_update_acknowledgements", "status_updates")),
    *(f"master/messages_{k}" for k in (
        "authenticate", "deactivate_framework", "executor_to_framework", "exited_executor",
        "framework_to_executor", "operation_status_update",
        "operation_status_update_acknowledgement", "reconcile_operations", "reregister_framework",
        "resource_request", "unregister_framework", "unregister_slave", "update_slave")),
    "master/slave_removals/reason_registered",
    "master/slave_removals/reason_unregistered",
    *(f"master/slave_shutdowns_{k}" for k in ("canceled", "completed", "scheduled")),
    "master/slave_unreachable_canceled",
    "master/valid_executor_to_framework_messages",
    "master/valid_framework_to_executor_messages",
    "master/valid_operation_status_update_acknowledgements",
    "master/valid_operation_status_updates",
)  # fmt: skip
_CALLS = {
    "ACCEPT": "launch_tasks",
    "DECLINE": "decline_offers",
    "KILL": "kill_task",
    "RECONCILE": "reconcile_tasks",
    "REVIVE": "revive_offers",
    "SUPPRESS": "suppress_offers",
    "SUBSCRIBE": "register_framework",
}
_TASK_STATES = (
    "dropped", "error", "failed", "finished", "gone", "gone_by_operator", "killed", "killing",
    "lost", "running", "staging", "starting", "unreachable",
)  # fmt: skip


@dataclass(frozen=True)
class RegistrarFacts:
    """What the registrar tells of itself."""

    recovered: bool
    ensemble_size: int
    queued: int
    size_bytes: int
    fetch_ms: float
    store_ms: list[float]


def percentiles(name: str, samples: list[float]) -> Metrics:
    """A timer: last value, count and percentiles."""
    if not samples:
        return {}
    ordered = sorted(samples)
    found = {
        name: samples[-1],
        f"{name}/count": float(len(samples)),
        f"{name}/max": ordered[-1],
        f"{name}/min": ordered[0],
    }
    for percent, label in _PERCENTILES:
        index = min(len(ordered) - 1, int(len(ordered) * percent / 100))
        found[f"{name}/{label}"] = ordered[index]
    return found


def process(*, uptime_s: float, elected: bool, registrar: RegistrarFacts) -> Metrics:
    """What any master has, leading or not."""
    metrics: Metrics = dict.fromkeys(_ZERO, 0.0)
    metrics |= {
        "master/elected": float(elected),
        "master/uptime_secs": uptime_s,
        "registrar/log/ensemble_size": float(registrar.ensemble_size),
        "registrar/log/recovered": float(registrar.recovered),
        "registrar/queued_operations": float(registrar.queued),
        "registrar/registry_size_bytes": float(registrar.size_bytes),
        "registrar/state_fetch_ms": registrar.fetch_ms,
    }
    metrics |= percentiles("registrar/state_store_ms", registrar.store_ms)
    load = os.getloadavg()
    page = os.sysconf("SC_PAGE_SIZE")
    metrics |= {
        "system/cpus_total": float(os.cpu_count() or 1),
        "system/load_1min": load[0],
        "system/load_5min": load[1],
        "system/load_15min": load[2],
        "system/mem_free_bytes": float(os.sysconf("SC_AVPHYS_PAGES") * page),
        "system/mem_total_bytes": float(os.sysconf("SC_PHYS_PAGES") * page),
    }
    return metrics


def cluster(state: Cluster | None, allocator: Allocator | None) -> Metrics:
    """What only a leader knows; zeros on a follower."""
    state = state or Cluster("")
    metrics: Metrics = {}
    capacity = state.capacity
    used = values.total(agent.used for agent in state.agents.values())
    offered = values.total(agent.offered for agent in state.agents.values())
    for name in ("cpus", "disk", "gpus", "mem"):
        total = capacity.get(name, 0.0)
        metrics[f"master/{name}_total"] = total
        metrics[f"master/{name}_used"] = used.get(name, 0.0)
        metrics[f"master/{name}_percent"] = used.get(name, 0.0) / total if total else 0.0
    for name, total in capacity.items():
        held = used.get(name, 0.0) + offered.get(name, 0.0)
        metrics[f"allocator/mesos/resources/{name}/total"] = total
        metrics[f"allocator/mesos/resources/{name}/offered_or_allocated"] = held
    agents = list(state.agents.values())
    connected = sum(1 for agent in agents if agent.connected)
    active = sum(1 for agent in agents if agent.active)
    frameworks = list(state.frameworks.values())
    live = sum(1 for framework in frameworks if framework.connected)
    tasks, counters = state.count_tasks(), state.counters
    metrics |= {f"master/tasks_{n}": float(tasks.get(f"TASK_{n.upper()}", 0)) for n in _TASK_STATES}
    calls: dict[str, int] = {}
    for framework in frameworks:
        for kind, number in framework.calls.items():
            calls[kind] = calls.get(kind, 0) + number
    metrics |= {f"master/messages_{n}": float(calls.get(k, 0)) for k, n in _CALLS.items()}
    metrics |= {
        "master/frameworks_active": float(live),
        "master/frameworks_connected": float(live),
        "master/frameworks_disconnected": float(len(frameworks) - live),
        "master/frameworks_inactive": float(len(frameworks) - live),
        "master/messages_register_slave": float(counters.registrations),
        "master/messages_reregister_slave": float(counters.reregistrations),
        "master/messages_status_update": float(counters.updates),
        "master/messages_status_update_acknowledgement": float(counters.acknowledgements),
        "master/operator_event_stream_subscribers": float(len(state.subscribers)),
        "master/outstanding_offers": float(len(state.offers)),
        "master/recovery_slave_removals": float(counters.recovery_removals),
        "master/slave_registrations": float(counters.registrations),
        "master/slave_removals": float(counters.removals),
        "master/slave_removals/reason_unhealthy": float(counters.unreachable),
        "master/slave_reregistrations": float(counters.reregistrations),
        "master/slave_unreachable_completed": float(counters.unreachable),
        "master/slave_unreachable_scheduled": float(counters.unreachable),
        "master/slaves_active": float(active),
        "master/slaves_connected": float(connected),
        "master/slaves_disconnected": float(len(agents) - connected),
        "master/slaves_inactive": float(len(agents) - active),
        "master/slaves_unreachable": float(len(state.unreachable)),
        "master/valid_status_update_acknowledgements": float(counters.acknowledgements),
        "master/valid_status_updates": float(counters.updates),
    }
    if allocator is not None:
        metrics["allocator/mesos/allocation_runs"] = float(allocator.runs)
        metrics |= percentiles("allocator/mesos/allocation_run_ms", allocator.run_ms)
        metrics |= percentiles("allocator/mesos/allocation_run_latency_ms", allocator.run_ms)
    for role in sorted({role for framework in frameworks for role in framework.roles}):
        for name, value in state.consumed_below(role).items():
            key = f"allocator/mesos/quota/roles/{role}/resources/{name}/consumed"
            metrics[key] = value
    return metrics
