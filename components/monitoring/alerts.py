"""What somebody is woken for, or shown: alert rules as values.

Each rule names what is wrong, not what was measured; says why in words; and has a firing and a
non-firing case in the tests, run by Prometheus itself. Two alerts of the field's own collection
compare a ratio of 1 with 90 and can never fire: hence the second kind of case.

Clusters of several stacks may be looked at by one Prometheus: each rule keeps to one `namespace`,
the label that the operator gives to whatever it scrapes there (without it all are of one).

Names of metrics are those that controllers, sync_engine, probe and HAProxy really tell; a
test compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from components.monitoring.alert import Alert, Severity

_LEADER = "and on (namespace, color, master) mesos_master_elected == 1"
_CRITICAL, _WARNING = Severity.CRITICAL, Severity.WARNING


def _nearly_used(resource: str, name: str) -> Alert:
    metric = f"mesos_master_{resource}"
    used = f'sum by (namespace, color, master) ({metric}{{type="used"}})'
    return Alert(
        f"Mesos{name}NearlyUsed",
        f"({used} / sum by (namespace, color, master) ({metric})) > 0.9 {_LEADER}",
        "15m",
        _WARNING,
        f"{name} of {{{{ $labels.color }}}}: {{{{ $value | humanizePercentage }}}} are used",
        "Tasks will soon wait for offers. Add agents, or see whose quota is too large.",
    )


MASTERS = (
    Alert(
        "MesosWithoutLeader",
        "max by (namespace, color) (mesos_master_elected) < 1",
        "30s",
        _CRITICAL,
        "No master of {{ $labels.color }} leads",
        "Agents and frameworks go on with what they have and nothing new starts. An election takes "
        "some ten seconds; longer means no quorum of ZooKeeper or of the registry. Behind a leader "
        "projection this is as it should be: silence it for the colour that is left.",
    ),
    Alert(
        "MesosTwoLeaders",
        "sum by (namespace, color) (mesos_master_elected) > 1",
        "1m",
        _CRITICAL,
        "{{ $value }} masters of {{ $labels.color }} lead at the same time",
        "They do not see the same election. Stop the one that ZooKeeper does not name.",
    ),
    Alert(
        "MesosMasterDown",
        'mesos_up{kind="master"} == 0',
        "2m",
        _CRITICAL,
        "Master {{ $labels.target }} does not tell what it counts",
        "It is down, or refuses the exporter's credential. One more and the registry may stand.",
    ),
    Alert(
        "MesosRegistryNotRecovered",
        "mesos_registrar_log_recovered == 0",
        "2m",
        _CRITICAL,
        "The registry's replica of {{ $labels.master }} does not serve",
        "It is no part of a quorum. See whether the other masters reach it.",
    ),
    Alert(
        "MesosEnsembleOfWrongSize",
        "mesos_registrar_log_ensemble_size != on (namespace, color) group_left () "
        'count by (namespace, color) (mesos_up{kind="master"})',
        "5m",
        _CRITICAL,
        "{{ $labels.master }} sees {{ $value }} replicas of the registry",
        "More than declared: a master of another group has joined its log, which may corrupt it. "
        "Fewer: some do not take part.",
    ),
    Alert(
        "MesosRegistryShrank",
        f"(mesos_registrar_registry_size_bytes {_LEADER}) "
        "< on (namespace, color) group_left () 0.5 * max by (namespace, color) "
        "(max_over_time(mesos_registrar_registry_size_bytes[1h]))",
        "1m",
        _CRITICAL,
        "The registry of {{ $labels.color }} is less than half of what it was",
        "Masters whose logs were all emptied come up healthy and know no quota, weight or agent. "
        "Compare with the last backup before anything is changed.",
    ),
    Alert(
        "MesosAllocatorSlow",
        f'mesos_allocator_run_seconds{{percentile="p99"}} > 1 {_LEADER}',
        "5m",
        _WARNING,
        "Allocations take {{ $value | humanizeDuration }}",
        "Offers come late. See how many frameworks hold filters, and what roles there are.",
    ),
    Alert(
        "MesosMasterOverloaded",
        'mesos_master_event_queue_length{type="messages"} > 1000',
        "5m",
        _WARNING,
        "{{ $value }} messages wait in {{ $labels.master }}",
        "It works them off one by one. See which client asks for /state.",
    ),
)
CAPACITY = (
    _nearly_used("cpus", "Processors"),
    _nearly_used("mem_bytes", "Memory"),
    _nearly_used("disk_bytes", "Disk"),
    Alert(
        "MesosQuotaNearlyUsed",
        'mesos_allocator_quota_cpus{type="consumed"} '
        "> on (namespace, color, master, role) group_left () "
        '(0.9 * (mesos_allocator_quota_cpus{type="limit"} > 0))',
        "15m",
        _WARNING,
        "Role {{ $labels.role }} has used nine tenths of its processors",
        "Its tasks will wait although the cluster may have room.",
    ),
)
AGENTS = (
    Alert(
        "MesosAgentsUnreachable",
        f'mesos_master_slaves_state{{state="unreachable"}} > 0 {_LEADER}',
        "1m",
        _CRITICAL,
        "{{ $value }} agents of {{ $labels.color }} are unreachable",
        "Their tasks run on, or not; frameworks replace them as they were told.",
    ),
    Alert(
        "MesosAgentNotRegistered",
        "mesos_slave_registered == 0",
        "2m",
        _WARNING,
        "No master knows agent {{ $labels.agent }}",
        "It follows no leader, is not authenticated, or its attributes have changed.",
    ),
    Alert(
        "MesosAgentSilent",
        'mesos_up{kind="agent"} == 0',
        "5m",
        _WARNING,
        "Agent {{ $labels.target }} does not tell what it counts",
        "The master still knows it. It hangs, or refuses the exporter's credential.",
    ),
    Alert(
        "MesosAgentForgot",
        "increase(mesos_slave_recovery_errors_total[15m]) > 0",
        "0m",
        _WARNING,
        "Agent {{ $labels.agent }} could not read its own records",
        "Tasks of before its restart may run without anybody knowing.",
    ),
    Alert(
        "MesosTasksLost",
        "sum by (namespace, color) (increase(mesos_master_task_states_exit_total"
        '{state=~"lost|gone|dropped|gone_by_operator"}[10m])) > 0',
        "0m",
        _CRITICAL,
        "{{ $value | humanize }} tasks of {{ $labels.color }} were lost",
        "During a migration: stop it, and see `migrate history`.",
    ),
)
MARATHON = (
    Alert(
        "MarathonWithoutLeader",
        "max by (namespace) (marathon_leadership_duration_gauge_seconds) == 0",
        "1m",
        _CRITICAL,
        "No instance of Marathon leads",
        "Apps run on and nothing that ends is replaced. See whether it reaches ZooKeeper.",
    ),
    Alert(
        "MarathonInstanceDown",
        'mesos_up{kind="marathon"} == 0',
        "5m",
        _WARNING,
        "Instance {{ $labels.target }} of Marathon does not tell what it counts",
        "It is down, or refuses the exporter's credential. In a migration it stands still while "
        "its state changes sides.",
    ),
    Alert(
        "MarathonDeploymentStuck",
        "min_over_time(marathon_deployments_active_gauge[30m]) > 0",
        "0m",
        _WARNING,
        "Deployments of {{ $labels.marathon }} have run for half an hour",
        "`/v2/deployments` names them and `/v2/queue` says what they wait for; no migration begins "
        "meanwhile.",
    ),
)
_ZOOKEEPER = '{service=~"(blue|green)-zookeeper"}'
ZOOKEEPER_METRICS = (
    *("avg_latency", "election_time_count", "leader_uptime", "outstanding_requests"),
    *("quorum_size", "synced_followers", "znode_count"),
)
"""What its servers tell of these rules and of its dashboard (the provider of 3.6 and later, whose
names have no prefix); who leads alone has `leader_uptime` and `synced_followers`."""
ZOOKEEPER = (
    Alert(
        "ZooKeeperWithoutQuorum",
        f"count by (namespace, service) (election_time_count{_ZOOKEEPER}) "
        f"unless on (namespace, service) leader_uptime{_ZOOKEEPER}",
        "1m",
        _CRITICAL,
        "No server of {{ $labels.service }} leads; {{ $value }} answer",
        "Masters, agents and Marathon go on with what they have, and elect nobody. See which "
        "servers are missing: more than half must reach each other.",
    ),
    Alert(
        "ZooKeeperServerDown",
        f"up{_ZOOKEEPER} == 0",
        "2m",
        _CRITICAL,
        "{{ $labels.pod }} of {{ $labels.service }} does not tell what it counts",
        "It is down, or its port of metrics is not reached. One more of three: nothing is written.",
    ),
    Alert(
        "ZooKeeperFollowersNotSynced",
        f"synced_followers{_ZOOKEEPER} < quorum_size{_ZOOKEEPER} - 1",
        "5m",
        _WARNING,
        "{{ $value }} followers of {{ $labels.service }} have what its leader has",
        "Another does not catch up: a full disk, or a network that is too slow. No migration "
        "begins meanwhile.",
    ),
    Alert(
        "ZooKeeperRequestsWait",
        f"outstanding_requests{_ZOOKEEPER} > 1000",
        "5m",
        _WARNING,
        "{{ $value }} requests wait in {{ $labels.pod }}",
        "Its disk is too slow for the transaction log, or somebody writes too much.",
    ),
)
SYNC = (
    Alert(
        "SyncEngineStalled",
        'zksync_state{state="stalled"} == 1',
        "1m",
        _CRITICAL,
        "The sync engine has stopped by itself",
        "`zk-sync status` says why; it goes on after `zk-sync confirm`.",
    ),
    Alert(
        "SyncLagHigh",
        "histogram_quantile(0.99, sum by (namespace, direction, le) "
        "(rate(zksync_lag_ms_bucket[5m]))) > 50",
        "5m",
        _WARNING,
        "Changes take {{ $value | humanize }} ms ({{ $labels.direction }})",
        "No migration touches masters while it is so.",
    ),
    Alert(
        "SyncSideLost",
        "zksync_side_connected == 0",
        "1m",
        _CRITICAL,
        "The sync engine has no server of side {{ $labels.side }}",
        "Nothing is copied. See whether that ensemble has a quorum.",
    ),
    Alert(
        "SyncConflictsHeld",
        "zksync_held_conflicts > 0",
        "5m",
        _WARNING,
        "{{ $value }} conflicts wait for somebody's word",
        "`zk-sync conflicts` lists them.",
    ),
    Alert(
        "SyncAuditUnequal",
        "zksync_audit_equal == 0",
        "5m",
        _CRITICAL,
        "The last audit found both sides different",
        "`zk-sync diff` says where.",
    ),
)
EDGE = (
    Alert(
        "EdgeServiceWithoutInstances",
        "haproxy_backend_active_servers == 0 unless on (namespace, proxy, instance) "
        'haproxy_backend_active_servers{proxy="unknown-host"}',
        "1m",
        _CRITICAL,
        "No instance of {{ $labels.proxy }} takes requests",
        "Its app has none that is healthy, or the edge does not reach their agents.",
    ),
    Alert(
        "EdgeAnswersErrors",
        'sum by (namespace, proxy) (rate(haproxy_backend_http_responses_total{code="5xx"}[5m])) '
        "> 0.05 * sum by (namespace, proxy) (rate(haproxy_backend_http_responses_total[5m]))",
        "5m",
        _CRITICAL,
        "One in twenty requests to {{ $labels.proxy }} or more ends in an error",
        "See whether instances answer so themselves, or end without an answer.",
    ),
)
REGISTRATOR = (
    Alert(
        "RegistratorBehind",
        "time() - registrator_last_look_timestamp_seconds > 300",
        "5m",
        _WARNING,
        "Consul is not told what runs",
        "`/readyz` of the registrator says whether Marathon does not answer, as in the middle of a "
        "migration, or Consul.",
    ),
    Alert(
        "RegistratorLeavesAppsOut",
        "registrator_problems > 0",
        "15m",
        _WARNING,
        "{{ $value }} apps or labels cannot be registered in Consul",
        "The registrator's log names them (`registrator.left_out`).",
    ),
)
PROBE = (
    Alert(
        "ProbeCollectorDown",
        "probe_agent_collector_up == 0",
        "10m",
        _WARNING,
        "The probe does not see {{ $labels.collector }} of a node",
        "`probe agent status` says why.",
    ),
    Alert(
        "ProbeDropsFrames",
        "rate(probe_agent_frames_dropped_total[5m]) > 0",
        "5m",
        _WARNING,
        "A probe drops what it sees",
        "Its app takes nothing, or too slowly.",
    ),
)
GROUPS: Mapping[str, tuple[Alert, ...]] = {
    "zookeeper": ZOOKEEPER,
    "mesos-masters": MASTERS,
    "mesos-capacity": CAPACITY,
    "mesos-agents": AGENTS,
    "marathon": MARATHON,
    "sync-engine": SYNC,
    "edge": EDGE,
    "registrator": REGISTRATOR,
    "probe": PROBE,
}


def rules() -> dict[str, Any]:
    """All groups, as a rules file or the spec of a PrometheusRule has them."""
    return {
        "groups": [
            {"name": name, "rules": [alert.rule() for alert in alerts]}
            for name, alerts in GROUPS.items()
        ]
    }


def listed() -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Every alert as a page lists them: head and rows."""
    head = ("alert", "holds for", "severity", "what it says")
    rows = [
        (alert.name, alert.hold, str(alert.severity), f"{alert.summary}. {alert.meaning}")
        for alerts in GROUPS.values()
        for alert in alerts
    ]
    return head, rows


def rules_file() -> str:
    """The same as a file of Prometheus."""
    return yaml.safe_dump(rules(), sort_keys=False, width=100)
