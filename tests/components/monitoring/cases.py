"""For each alert, series with which it fires, and series that look alike with which it must not.

Series are Prometheus' own notation for tests: one sample a minute, `0x30` is thirty times 0 more.
"""

from __future__ import annotations

from dataclasses import dataclass

Series = dict[str, str]


@dataclass(frozen=True)
class Case:
    """What fires, and what does not; looked at after `at`."""

    fires: Series
    not_: Series
    at: str = "30m"


def _master(name: str, labels: str = "", master: str = "m1") -> str:
    more = f",{labels}" if labels else ""
    return f'{name}{{color="blue",master="{master}"{more}}}'


def _server(name: str, number: int) -> str:
    pod = f'pod="blue-zookeeper-{number}",instance="10.0.0.{number}:7000"'
    return f'{name}{{namespace="one",service="blue-zookeeper",{pod}}}'


def _leads(value: str = "1x60") -> Series:
    return {_master("mesos_master_elected"): value}


def _used(metric: str) -> Case:
    """Nine tenths of a ratio of 1, which the field's own alert compares with 90."""
    used, free = _master(metric, 'type="used"'), _master(metric, 'type="free"')
    return Case(
        {**_leads(), used: "95x60", free: "5x60"},
        {**_leads(), used: "85x60", free: "15x60"},
    )


_SIZE = _master("mesos_registrar_log_ensemble_size")
_UP = [f'mesos_up{{color="blue",kind="master",target="m{n}"}}' for n in (1, 2, 3)]
_BYTES = _master("mesos_registrar_registry_size_bytes")
_QUOTA = "mesos_allocator_quota_cpus"
_LOST = 'state="lost"'
_LEADS = 'marathon_leadership_duration_gauge_seconds{marathon="%s"}'
_BUCKET = 'zksync_lag_ms_bucket{direction="a_to_b",le="%s"}'
_ANSWERS = 'haproxy_backend_http_responses_total{proxy="web_0",code="%s",instance="e"}'
_SERVERS = 'haproxy_backend_active_servers{proxy="%s",instance="e"}'

CASES: dict[str, Case] = {
    # Followers alone, though another stack's blue has a leader; and a leader among them.
    "MesosWithoutLeader": Case(
        {
            _master("mesos_master_elected", 'namespace="one"'): "0x60",
            _master("mesos_master_elected", 'namespace="one"', "m2"): "0x60",
            _master("mesos_master_elected", 'namespace="two"'): "1x60",
        },
        {
            _master("mesos_master_elected"): "0x60",
            _master("mesos_master_elected", "", "m2"): "1x60",
        },
    ),
    "MesosTwoLeaders": Case(
        {
            _master("mesos_master_elected"): "1x60",
            _master("mesos_master_elected", "", "m2"): "1x60",
        },
        # One of each colour, and one of another stack's.
        {
            **_leads(),
            'mesos_master_elected{color="green",master="m9"}': "1x60",
            _master("mesos_master_elected", 'namespace="two"'): "1x60",
        },
    ),
    "MesosMasterDown": Case(
        {_UP[0]: "0x60"}, {'mesos_up{color="blue",kind="agent",target="a"}': "0x60"}
    ),
    "MesosRegistryNotRecovered": Case(
        {_master("mesos_registrar_log_recovered"): "0x60"},
        # A restart that takes less than the alert waits.
        {_master("mesos_registrar_log_recovered"): "1x28 0 1x30"},
    ),
    "MesosEnsembleOfWrongSize": Case(
        {**dict.fromkeys(_UP, "1x60"), _SIZE: "4x60"},
        # As many as this stack's masters are; another's are none of them.
        {
            **dict.fromkeys(_UP, "1x60"),
            _SIZE: "3x60",
            'mesos_up{namespace="two",color="blue",kind="master",target="m4"}': "1x60",
        },
    ),
    "MesosRegistryShrank": Case(
        {**_leads(), _BYTES: "9000x20 200x40"},
        {**_leads(), _BYTES: "9000x20 8000x40"},
    ),
    "MesosAllocatorSlow": Case(
        {**_leads(), _master("mesos_allocator_run_seconds", 'percentile="p99"'): "2x60"},
        {**_leads("0x60"), _master("mesos_allocator_run_seconds", 'percentile="p99"'): "2x60"},
    ),
    "MesosMasterOverloaded": Case(
        {_master("mesos_master_event_queue_length", 'type="messages"'): "5000x60"},
        {_master("mesos_master_event_queue_length", 'type="dispatches"'): "5000x60"},
    ),
    "MesosProcessorsNearlyUsed": _used("mesos_master_cpus"),
    "MesosMemoryNearlyUsed": _used("mesos_master_mem_bytes"),
    "MesosDiskNearlyUsed": _used("mesos_master_disk_bytes"),
    "MesosQuotaNearlyUsed": Case(
        {
            _master(_QUOTA, 'role="dev",type="consumed"'): "19x60",
            _master(_QUOTA, 'role="dev",type="limit"'): "20x60",
        },
        # Without a limit there is nothing to use up.
        {
            _master(_QUOTA, 'role="dev",type="consumed"'): "19x60",
            _master(_QUOTA, 'role="dev",type="limit"'): "0x60",
        },
    ),
    "MesosAgentsUnreachable": Case(
        {**_leads(), _master("mesos_master_slaves_state", 'state="unreachable"'): "2x60"},
        {**_leads(), _master("mesos_master_slaves_state", 'state="connected_active"'): "2x60"},
    ),
    "MesosAgentNotRegistered": Case(
        {'mesos_slave_registered{color="blue",agent="a"}': "0x60"},
        {'mesos_slave_registered{color="blue",agent="a"}': "1x60"},
    ),
    "MesosAgentSilent": Case(
        {'mesos_up{color="blue",kind="agent",target="a"}': "0x60"}, {_UP[0]: "0x60"}
    ),
    "MesosAgentForgot": Case(
        {'mesos_slave_recovery_errors_total{color="blue",agent="a"}': "0x20 3x40"},
        {'mesos_slave_recovery_errors_total{color="blue",agent="a"}': "3x60"},
    ),
    "MesosTasksLost": Case(
        {_master("mesos_master_task_states_exit_total", _LOST): "0x25 4x40"},
        {_master("mesos_master_task_states_exit_total", 'state="killed"'): "0x25 4x40"},
    ),
    "MarathonWithoutLeader": Case(
        {_LEADS % "a": "0x60", _LEADS % "b": "0x60"},
        {_LEADS % "a": "0x60", _LEADS % "b": "0+60x60"},
    ),
    "MarathonInstanceDown": Case(
        {'mesos_up{kind="marathon",target="a"}': "0x60"}, {_UP[0]: "0x60"}
    ),
    "MarathonDeploymentStuck": Case(
        {'marathon_deployments_active_gauge{marathon="a"}': "1x60"},
        # One after the other.
        {'marathon_deployments_active_gauge{marathon="a"}': "1x20 0 1x40"},
    ),
    # Three that elect somebody; and three of whom one leads.
    "ZooKeeperWithoutQuorum": Case(
        {_server("election_time_count", n): "1x60" for n in range(3)},
        {
            **{_server("election_time_count", n): "1x60" for n in range(3)},
            _server("leader_uptime", 1): "5000x60",
        },
    ),
    "ZooKeeperServerDown": Case({_server("up", 0): "0x60"}, {_server("up", 0): "1x28 0 1x30"}),
    "ZooKeeperFollowersNotSynced": Case(
        {_server("synced_followers", 1): "1x60", _server("quorum_size", 1): "3x60"},
        # Followers tell the size of the quorum, too, and nothing of who is in sync.
        {
            _server("synced_followers", 1): "2x60",
            _server("quorum_size", 1): "3x60",
            _server("quorum_size", 0): "3x60",
        },
    ),
    "ZooKeeperRequestsWait": Case(
        {_server("outstanding_requests", 0): "2000x60"},
        {_server("outstanding_requests", 0): "2000x3 10x57"},
    ),
    "SyncEngineStalled": Case(
        {'zksync_state{state="stalled"}': "1x60"}, {'zksync_state{state="degraded"}': "1x60"}
    ),
    "SyncLagHigh": Case(
        {_BUCKET % "50": "0+10x60", _BUCKET % "200": "0+100x60", _BUCKET % "+Inf": "0+100x60"},
        {_BUCKET % "50": "0+100x60", _BUCKET % "200": "0+100x60", _BUCKET % "+Inf": "0+100x60"},
    ),
    "SyncSideLost": Case(
        {'zksync_side_connected{side="a"}': "0x60"}, {'zksync_side_connected{side="a"}': "1x60"}
    ),
    "SyncConflictsHeld": Case({"zksync_held_conflicts": "1x60"}, {"zksync_held_conflicts": "0x60"}),
    "SyncAuditUnequal": Case({"zksync_audit_equal": "0x60"}, {"zksync_audit_equal": "1x60"}),
    "EdgeServiceWithoutInstances": Case(
        {_SERVERS % "web_0": "0x60", _SERVERS % "unknown-host": "0x60"},
        {_SERVERS % "web_0": "2x60", _SERVERS % "unknown-host": "0x60"},
    ),
    "EdgeAnswersErrors": Case(
        {_ANSWERS % "2xx": "0+80x60", _ANSWERS % "5xx": "0+20x60"},
        {_ANSWERS % "2xx": "0+99x60", _ANSWERS % "5xx": "0+1x60"},
    ),
    "RegistratorBehind": Case(
        # promtool begins at 0 of the clock.
        {"registrator_last_look_timestamp_seconds": "0x60"},
        {"registrator_last_look_timestamp_seconds": "0+60x60"},
    ),
    "RegistratorLeavesAppsOut": Case(
        {"registrator_problems": "1x60"}, {"registrator_problems": "0x60"}
    ),
    "ProbeCollectorDown": Case(
        {'probe_agent_collector_up{collector="docker"}': "0x60"},
        {'probe_agent_collector_up{collector="docker"}': "1x60"},
    ),
    "ProbeDropsFrames": Case(
        {"probe_agent_frames_dropped_total": "0+1x60"},
        {"probe_agent_frames_dropped_total": "7x60"},
    ),
}
