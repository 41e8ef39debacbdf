"""Dashboards of Grafana as values: what to look at first, for whom.

A panel is a title, a unit and queries; where it stands follows from the order. The JSON is that of
Grafana's own export (schema 39), with the data source as a variable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_WIDTH, _HEIGHT, _COLUMNS = 12, 8, 24
_SCHEMA = 39


@dataclass(frozen=True)
class Panel:
    """A graph; `queries` are PromQL by legend."""

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    text: str = ""


@dataclass(frozen=True)
class Dashboard:
    """Panels in reading order. `uid` is what links to it name."""

    uid: str
    title: str
    panels: Sequence[Panel]
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    """Name → query for its values."""


_LEADER = "and on (namespace, color, master) mesos_master_elected == 1"
_CHOICE = {
    "namespace": "label_values(mesos_master_elected, namespace)",
    "color": "label_values(mesos_master_elected, color)",
}
_CHOSEN = 'namespace=~"$namespace",color=~"$color"'


def _share(resource: str) -> str:
    metric = f"mesos_master_{resource}{{{_CHOSEN}}}"
    used = metric.replace("}", ',type="used"}')
    by = "sum by (namespace, color, master)"
    return f"{by} ({used}) / {by} ({metric}) {_LEADER}"


def _led(legend: str, metric: str) -> dict[str, str]:
    """What only a leader knows; the others tell zeros."""
    return {legend: f"{metric}{{{_CHOSEN}}} {_LEADER}"}


CLUSTER = Dashboard(
    "mesos-cluster",
    "Mesos: cluster",
    (
        Panel(
            "Leaders",
            {"{{color}}": f"sum by (namespace, color) (mesos_master_elected{{{_CHOSEN}}})"},
            kind="stat",
            text="1 for the colour that leads; the other is 0 before and behind a projection.",
        ),
        Panel(
            "Agents",
            _led("{{color}} {{state}}", "mesos_master_slaves_state"),
        ),
        Panel(
            "Tasks",
            _led("{{color}} {{state}}", "mesos_master_task_states_current"),
        ),
        Panel(
            "Tasks that ended",
            {
                "{{color}} {{state}}": "sum by (namespace, color, state) (rate("
                f"mesos_master_task_states_exit_total{{{_CHOSEN}}}[5m]))"
            },
            unit="ops",
        ),
        Panel(
            "Used",
            {
                "{{color}} processors": _share("cpus"),
                "{{color}} memory": _share("mem_bytes"),
                "{{color}} disk": _share("disk_bytes"),
            },
            unit="percentunit",
        ),
        Panel(
            "Quota used, of processors",
            {
                "{{role}}": f'mesos_allocator_quota_cpus{{{_CHOSEN},type="consumed"}} '
                "/ on (namespace, color, master, role) group_left () "
                f'(mesos_allocator_quota_cpus{{{_CHOSEN},type="limit"}} > 0)'
            },
            unit="percentunit",
        ),
        Panel(
            "Dominant share",
            _led("{{role}}", "mesos_allocator_role_dominant_share"),
            unit="percentunit",
        ),
        Panel(
            "Frameworks",
            _led("{{color}} {{state}}", "mesos_master_frameworks_state"),
        ),
    ),
    _CHOICE,
)
MASTERS = Dashboard(
    "mesos-masters",
    "Mesos: masters",
    (
        Panel("Answer", {"{{target}}": f'mesos_up{{kind="master",{_CHOSEN}}}'}, kind="stat"),
        Panel(
            "Registry",
            {
                "{{master}} serves": f"mesos_registrar_log_recovered{{{_CHOSEN}}}",
                "{{master}} replicas": f"mesos_registrar_log_ensemble_size{{{_CHOSEN}}}",
            },
        ),
        Panel(
            "Size of the registry",
            {"{{master}}": f"mesos_registrar_registry_size_bytes{{{_CHOSEN}}}"},
            unit="bytes",
        ),
        Panel(
            "Length of a change of the registry",
            {"{{master}} {{percentile}}": f"mesos_registrar_state_store_seconds{{{_CHOSEN}}}"},
            unit="s",
        ),
        Panel(
            "Length of an allocation",
            _led("{{master}} {{percentile}}", "mesos_allocator_run_seconds"),
            unit="s",
        ),
        Panel(
            "What waits",
            {"{{master}} {{type}}": f"mesos_master_event_queue_length{{{_CHOSEN}}}"},
        ),
        Panel(
            "Messages",
            {"{{type}}": f"sum by (type) (rate(mesos_master_messages_total{{{_CHOSEN}}}[5m])) > 0"},
            unit="ops",
        ),
        Panel("Offers that wait", {"{{master}}": f"mesos_master_offers_pending{{{_CHOSEN}}}"}),
    ),
    _CHOICE,
)
AGENTS = Dashboard(
    "mesos-agents",
    "Mesos: agents",
    (
        Panel("Registered", {"{{agent}}": f"mesos_slave_registered{{{_CHOSEN}}}"}, kind="stat"),
        Panel("Tasks", {"{{agent}} {{state}}": f"mesos_slave_task_states_current{{{_CHOSEN}}}"}),
        Panel("Since they started", {"{{agent}}": f"mesos_slave_uptime_seconds{{{_CHOSEN}}}"}, "s"),
        Panel(
            "Own records that could not be read",
            {"{{agent}}": f"mesos_slave_recovery_errors_total{{{_CHOSEN}}}"},
        ),
    ),
    _CHOICE,
)
MARATHON = Dashboard(
    "marathon",
    "Marathon",
    (
        Panel("Answer", {"{{target}}": 'mesos_up{kind="marathon"}'}, kind="stat"),
        Panel("Leads", {"{{marathon}}": "marathon_leadership_duration_gauge_seconds"}, unit="s"),
        Panel(
            "Instances of apps",
            {
                "running": "max(marathon_instances_running_gauge)",
                "to run": "max(marathon_instances_staged_gauge)",
            },
            text="As the leader counts them; the others may tell zeros.",
        ),
        Panel("Apps", {"": "max(marathon_apps_active_gauge)"}),
        Panel("Deployments that run", {"": "max(marathon_deployments_active_gauge)"}),
        Panel("Since it was started", {"{{marathon}}": "marathon_uptime_gauge_seconds"}, unit="s"),
    ),
)
_ENSEMBLE = '{namespace=~"$namespace",service=~"$service"}'
ZOOKEEPER = Dashboard(
    "zookeeper",
    "ZooKeeper",
    (
        Panel(
            "Leaders",
            {"{{service}}": f"count by (namespace, service) (leader_uptime{_ENSEMBLE})"},
            kind="stat",
            text="1 for each ensemble; nothing while it has no quorum.",
        ),
        Panel("Followers in sync", {"{{service}}": f"synced_followers{_ENSEMBLE}"}),
        Panel("Requests that wait", {"{{pod}}": f"outstanding_requests{_ENSEMBLE}"}),
        Panel("Latency", {"{{pod}}": f"avg_latency{_ENSEMBLE}"}, unit="ms"),
        Panel("Znodes", {"{{pod}}": f"znode_count{_ENSEMBLE}"}),
        Panel("Elections", {"{{pod}}": f"election_time_count{_ENSEMBLE}"}),
    ),
    {
        "namespace": "label_values(znode_count, namespace)",
        "service": "label_values(znode_count, service)",
    },
)
MIGRATION = Dashboard(
    "migration",
    "Migration: sync engine and edge",
    (
        Panel("State of the engine", {"{{state}}": "zksync_state == 1"}, kind="stat"),
        Panel("Not yet applied", {"{{direction}}": "zksync_backlog_znodes"}),
        Panel(
            "Lag",
            {
                "{{direction}} p50": "histogram_quantile(0.5, sum by (namespace, direction, le) "
                "(rate(zksync_lag_ms_bucket[5m])))",
                "{{direction}} p99": "histogram_quantile(0.99, sum by (namespace, direction, le) "
                "(rate(zksync_lag_ms_bucket[5m])))",
            },
            unit="ms",
        ),
        Panel("Applied", {"{{direction}}": "rate(zksync_applied_znodes_total[1m])"}, unit="ops"),
        Panel("Conflicts that wait", {"": "zksync_held_conflicts"}, kind="stat"),
        Panel("Equal at the last audit", {"": "zksync_audit_equal"}, kind="stat"),
        Panel(
            "Requests through the edge",
            {
                "{{proxy}} {{code}}": "sum by (namespace, proxy, code) "
                "(rate(haproxy_backend_http_responses_total[1m]))"
            },
            unit="reqps",
        ),
        Panel("Instances behind the edge", {"{{proxy}}": "haproxy_backend_active_servers"}),
    ),
)
PROBE = Dashboard(
    "probe",
    "Probe: agents",
    (
        Panel("Processor", {"{{instance}}": "probe_agent_cpu_percent"}, unit="percent"),
        Panel("Memory", {"{{instance}}": "probe_agent_rss_megabytes"}, unit="decmbytes"),
        Panel("Nodes seen", {"{{topology}}": "sum by (topology) (probe_agent_nodes)"}),
        Panel("Collectors", {"{{instance}} {{collector}}": "probe_agent_collector_up"}),
    ),
)
DASHBOARDS = (CLUSTER, ZOOKEEPER, MASTERS, AGENTS, MARATHON, MIGRATION, PROBE)


def listed() -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Every dashboard as a page lists them: head and rows."""
    head = ("dashboard", "title", "panels")
    rows = [
        (one.uid, one.title, "; ".join(panel.title for panel in one.panels)) for one in DASHBOARDS
    ]
    return head, rows


def document(dashboard: Dashboard) -> dict[str, Any]:
    """As Grafana imports it."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["mesos-platform"],
        "schemaVersion": _SCHEMA,
        "editable": False,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_source_variable(), *_variables(dashboard, source)]},
        "panels": [_panel(n, panel, source) for n, panel in enumerate(dashboard.panels)],
    }


def _source_variable() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Source"}


def _variables(dashboard: Dashboard, source: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "type": "query",
            "datasource": source,
            "query": query,
            "includeAll": True,
            "multi": True,
            "allValue": ".*",
            "refresh": 2,
        }
        for name, query in dashboard.variables.items()
    ]


def _panel(number: int, panel: Panel, source: dict[str, str]) -> dict[str, Any]:
    per_row = _COLUMNS // _WIDTH
    return {
        "id": number + 1,
        "title": panel.title,
        "description": panel.text,
        "type": panel.kind,
        "datasource": source,
        "gridPos": {
            "x": _WIDTH * (number % per_row),
            "y": _HEIGHT * (number // per_row),
            "w": _WIDTH,
            "h": _HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + n),
                "datasource": source,
                "expr": query,
                "legendFormat": legend,
            }
            for n, (legend, query) in enumerate(panel.queries.items())
        ],
    }
