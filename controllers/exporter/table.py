"""What of `/metrics/snapshot` becomes which metric. Values only.

Names follow the exporter that dashboards of the field were written for (mesos_exporter:
`mesos_master_slaves_state{state="connected_active"}`), wherever its names say what they count.
Units are Prometheus' own and stand in the name: Mesos counts memory and disk in MiB and times in
milliseconds, here they are bytes and seconds; shares are ratios of 1, which two alerts of the
field's mixin took for percents and so could never fire. What only ever grows ends in `_total`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MIB = 1024 * 1024.0
_MS = 0.001


@dataclass(frozen=True)
class Source:
    """A key of a snapshot, whole or as a pattern, and the labels and unit that it gets.

    Named groups of the pattern are labels, too. `minus` is another key that is taken off.
    """

    key: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    scale: float = 1.0
    minus: str | None = None

    @property
    def pattern(self) -> re.Pattern[str]:
        """What a key must match as a whole."""
        return re.compile(self.key)


@dataclass(frozen=True)
class Metric:
    """A metric and where its samples come from."""

    name: str
    kind: str
    text: str
    sources: Sequence[Source]


def _each(prefix: str, label: str, names: Mapping[str, str] | Sequence[str]) -> list[Source]:
    pairs = names if isinstance(names, Mapping) else dict(zip(names, names, strict=True))
    return [Source(f"{prefix}{key}", {label: value}) for key, value in pairs.items()]


def _resources(process: str, whose: str) -> list[Metric]:
    found: list[Metric] = []
    for resource, suffix, scale, text in (
        ("cpus", "", 1.0, "Processors"),
        ("gpus", "", 1.0, "GPUs"),
        ("mem", "_bytes", MIB, "Memory"),
        ("disk", "_bytes", MIB, "Disk"),
    ):
        total, used = f"{process}/{resource}_total", f"{process}/{resource}_used"
        name = f"mesos_{process}_{resource}{suffix}"
        sources = [
            Source(used, {"type": "used"}, scale),
            Source(total, {"type": "free"}, scale, minus=used),
        ]
        found.append(Metric(name, "gauge", f"{text} {whose}, by use", sources))
    return found


def _times(name: str, key: str, text: str) -> list[Metric]:
    """A timer of Mesos: percentiles of the last hour, in milliseconds."""
    sources = [
        Source(f"{key}/{percentile}", {"percentile": percentile}, _MS)
        for percentile in ("p50", "p90", "p95", "p99", "p999")
    ]
    return [Metric(name, "gauge", f"{text}, percentiles of the last hour", sources)]


_QUOTA_KINDS = "(?P<type>guarantee|limit|consumed|offered_or_allocated)"
MASTER: tuple[Metric, ...] = (
    Metric("mesos_master_elected", "gauge", "1 if this master leads", [Source("master/elected")]),
    Metric(
        "mesos_master_uptime_seconds", "gauge", "Since it started", [Source("master/uptime_secs")]
    ),
    *_resources("master", "of the cluster"),
    Metric(
        "mesos_master_slaves_state",
        "gauge",
        "Agents, by what the leader knows of them",
        _each(
            "master/slaves_",
            "state",
            {
                "active": "connected_active",
                "inactive": "connected_inactive",
                "disconnected": "disconnected_inactive",
                "unreachable": "unreachable",
            },
        ),
    ),
    Metric(
        "mesos_master_slave_registration_events_total",
        "counter",
        "Registrations since this master leads",
        _each(
            "master/slave_",
            "event",
            {"registrations": "register", "reregistrations": "reregister"},
        ),
    ),
    Metric(
        "mesos_master_slave_removal_events_total",
        "counter",
        "Removals of agents, by reason",
        [Source(r"master/slave_removals/reason_(?P<reason>\w+)")],
    ),
    Metric(
        "mesos_master_frameworks_state",
        "gauge",
        "Frameworks, by what the leader knows of them",
        _each(
            "master/frameworks_",
            "state",
            {
                "active": "connected_active",
                "inactive": "connected_inactive",
                "disconnected": "disconnected_inactive",
            },
        ),
    ),
    Metric(
        "mesos_master_offers_pending",
        "gauge",
        "Offers that no framework has answered",
        [Source("master/outstanding_offers")],
    ),
    Metric(
        "mesos_master_task_states_current",
        "gauge",
        "Tasks that are not at an end, by state",
        _each(
            "master/tasks_",
            "state",
            ["running", "staging", "starting", "killing", "unreachable"],
        ),
    ),
    Metric(
        "mesos_master_task_states_exit_total",
        "counter",
        "Tasks that came to an end since this master leads, by state",
        _each(
            "master/tasks_",
            "state",
            [
                "dropped",
                "error",
                "failed",
                "finished",
                "gone",
                "gone_by_operator",
                "killed",
                "lost",
            ],
        ),
    ),
    Metric(
        "mesos_master_messages_total",
        "counter",
        "Messages taken, by type",
        [Source(r"master/messages_(?P<type>\w+)")],
    ),
    Metric(
        "mesos_master_invalid_messages_total",
        "counter",
        "Messages refused, by type",
        [Source(r"master/invalid_(?P<type>\w+)")],
    ),
    Metric(
        "mesos_master_dropped_messages_total",
        "counter",
        "Messages that nobody took",
        [Source("master/dropped_messages")],
    ),
    Metric(
        "mesos_master_event_queue_length",
        "gauge",
        "What waits for the master's own thread, by type",
        _each("master/event_queue_", "type", ["dispatches", "http_requests", "messages"]),
    ),
    Metric(
        "mesos_allocator_runs_total",
        "counter",
        "Allocations",
        [Source("allocator/mesos/allocation_runs")],
    ),
    *_times(
        "mesos_allocator_run_seconds",
        "allocator/mesos/allocation_run_ms",
        "Length of an allocation",
    ),
    *_times(
        "mesos_allocator_run_latency_seconds",
        "allocator/mesos/allocation_run_latency_ms",
        "From the wish for an allocation to its beginning",
    ),
    Metric(
        "mesos_allocator_role_dominant_share",
        "gauge",
        "Largest share that a role has of any resource, of 1",
        [Source(r"allocator/mesos/roles/(?P<role>.+)/shares/dominant")],
    ),
    *(
        Metric(
            f"mesos_allocator_quota_{resource}{suffix}",
            "gauge",
            "Of a role with quota: what it is promised, may have at most, and has",
            [
                Source(
                    rf"allocator/mesos/quota/roles/(?P<role>.*)/resources/{resource}/{_QUOTA_KINDS}",
                    scale=scale,
                )
            ],
        )
        for resource, suffix, scale in (
            ("cpus", "", 1.0),
            ("gpus", "", 1.0),
            ("mem", "_bytes", MIB),
            ("disk", "_bytes", MIB),
        )
    ),
    Metric(
        "mesos_registrar_log_recovered",
        "gauge",
        "1 if this master's replica of the registry serves",
        [Source("registrar/log/recovered")],
    ),
    Metric(
        "mesos_registrar_log_ensemble_size",
        "gauge",
        "Replicas of the registry that this master sees",
        [Source("registrar/log/ensemble_size")],
    ),
    Metric(
        "mesos_registrar_registry_size_bytes",
        "gauge",
        "Size of the registry",
        [Source("registrar/registry_size_bytes")],
    ),
    Metric(
        "mesos_registrar_queued_operations",
        "gauge",
        "Changes of the registry that wait",
        [Source("registrar/queued_operations")],
    ),
    Metric(
        "mesos_registrar_state_fetch_seconds",
        "gauge",
        "How long the registry took to read when this master came to lead",
        [Source("registrar/state_fetch_ms", scale=_MS)],
    ),
    *_times(
        "mesos_registrar_state_store_seconds", "registrar/state_store_ms", "Length of a change"
    ),
)
AGENT: tuple[Metric, ...] = (
    Metric(
        "mesos_slave_registered", "gauge", "1 if a master knows it", [Source("slave/registered")]
    ),
    Metric(
        "mesos_slave_uptime_seconds", "gauge", "Since it started", [Source("slave/uptime_secs")]
    ),
    *_resources("slave", "of the agent"),
    Metric(
        "mesos_slave_task_states_current",
        "gauge",
        "Tasks that are not at an end, by state",
        _each("slave/tasks_", "state", ["running", "staging", "starting", "killing"]),
    ),
    Metric(
        "mesos_slave_task_states_exit_total",
        "counter",
        "Tasks that came to an end, by state",
        _each("slave/tasks_", "state", ["failed", "finished", "gone", "killed", "lost"]),
    ),
    Metric(
        "mesos_slave_executor_states_current",
        "gauge",
        "Executors, by state",
        _each("slave/executors_", "state", ["registering", "running", "terminating"]),
    ),
    Metric(
        "mesos_slave_executors_terminated_total",
        "counter",
        "Executors that have ended",
        [Source("slave/executors_terminated")],
    ),
    Metric(
        "mesos_slave_frameworks_active",
        "gauge",
        "Frameworks with tasks here",
        [Source("slave/frameworks_active")],
    ),
    Metric(
        "mesos_slave_recovery_errors_total",
        "counter",
        "What of its own records it could not read when it started",
        [Source("slave/recovery_errors")],
    ),
    Metric(
        "mesos_slave_container_launch_errors_total",
        "counter",
        "Containers that could not be started",
        [Source("slave/container_launch_errors")],
    ),
    Metric(
        "mesos_slave_container_destroy_errors_total",
        "counter",
        "Containers that could not be removed",
        [Source("containerizer/mesos/container_destroy_errors")],
    ),
    Metric(
        "mesos_slave_invalid_messages_total",
        "counter",
        "Messages refused, by type",
        [Source(r"slave/invalid_(?P<type>\w+)")],
    ),
    Metric(
        "mesos_slave_sandbox_age_max_seconds",
        "gauge",
        "How old a sandbox may become; falls as the disk fills up",
        [Source("slave/executor_directory_max_allowed_age_secs")],
    ),
)
# Under the names of Marathon's own reporter for Prometheus, whose page may want a credential that
# no ServiceMonitor can give in the form in which secrets are kept here.
MARATHON: tuple[Metric, ...] = (
    Metric(
        "marathon_apps_active_gauge",
        "gauge",
        "Apps that are declared",
        [Source("marathon.apps.active.gauge")],
    ),
    Metric(
        "marathon_deployments_active_gauge",
        "gauge",
        "Deployments that run",
        [Source("marathon.deployments.active.gauge")],
    ),
    Metric(
        "marathon_instances_running_gauge",
        "gauge",
        "Instances whose tasks run",
        [Source("marathon.instances.running.gauge")],
    ),
    Metric(
        "marathon_instances_staged_gauge",
        "gauge",
        "Instances whose tasks are to run",
        [Source("marathon.instances.staged.gauge")],
    ),
    Metric(
        "marathon_leadership_duration_gauge_seconds",
        "gauge",
        "For how long this instance leads; 0 of one that does not",
        [Source("marathon.leadership.duration.gauge.seconds")],
    ),
    Metric(
        "marathon_uptime_gauge_seconds",
        "gauge",
        "Since it was started",
        [Source("marathon.uptime.gauge.seconds")],
    ),
)
UP = Metric("mesos_up", "gauge", "1 if a master, agent or Marathon told what it counts", ())
SCRAPE = Metric("mesos_exporter_scrape_seconds", "gauge", "How long it took to ask all of them", ())
NAMES = frozenset(metric.name for metric in (*MASTER, *AGENT, *MARATHON, UP, SCRAPE))
"""All names that the exporter ever tells."""
# Of a real master's snapshot, what no metric is made of, and why.
LEFT_OUT = (
    r".*_percent",  # follows from used and free
    r".*_revocable_.*",  # no oversubscription here
    r"system/.*",  # the host's own exporter tells it
    r".*/(count|min|max|p9999)",  # of timers; the percentiles tell more
    r"(allocator/mesos/allocation_run(_latency)?|registrar/state_store)_ms",  # the last value
    r"(allocator|allocator/mesos)/event_queue_dispatches",
    r"allocator/mesos/offer_filters/.*",
    r"allocator/mesos/resources/.*",  # the master's own used and total
    r"master/frameworks/.*",  # a series for each framework that ever was
    r"master/valid_.*",
    r"master/(http_cache_hits|operator_event_stream_subscribers|recovery_slave_removals)",
    r"master/slave_(removals|shutdowns_\w+|unreachable_\w+)",
    r"master/slaves_connected",  # active and inactive together
    r"master/frameworks_connected",
    r"master/task_.*",  # by state, source and reason: too many series
    r"master/operations/.*",
    r"master/operator_.*",
)
