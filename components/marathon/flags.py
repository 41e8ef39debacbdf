"""Flags of Marathon 1.10, under its own names, and what they may be set to here.

The list is that of its documentation and sources, without what 1.8 to 1.10 have removed and without
parameters that are called internal. A flag that Marathon does not know, or a value of another kind,
ends it at its start; so both are refused before.

Flags stand in a stack's configuration and on the command line, which everybody reads: none of them
is a secret. No input or output.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from components.errors import ArgumentsError
from components.mesos.engine import check_flags

Value = str | bool | int
Flags = Mapping[str, Value]
TASK_KILLING = "task_killing"
FEATURES = frozenset({"external_volumes", "gpu_resources", TASK_KILLING, "vips"})
"""What `enable_features` may name. `maintenance_mode` and `secrets` are none any more."""
# They follow from where it runs, and from who may talk to it.
OWN_FLAGS = frozenset(
    {"disable_http", "framework_name", "ha", "hostname", "http_address", "http_port",
     "https_address", "https_port", "master", "mesos_authentication",
     "mesos_authentication_principal", "mesos_authentication_secret_file", "mesos_user",
     "ssl_keystore_path", "zk"}
)  # fmt: skip
SECRET_FLAGS = frozenset(
    {"http_credentials", "mesos_authentication_secret", "metrics_datadog_api_key", "sentry",
     "ssl_keystore_password"}
)  # fmt: skip
TOGGLES = frozenset(
    {"checkpoint", "http_compression", "maintenance_mode", "metrics_datadog",
     "metrics_histogram_reservoir_reset_periodically", "metrics_prometheus", "metrics_statsd",
     "store_cache", "suppress_offers", "zk_compression"}
)  # fmt: skip
"""`--name` or `--disable_name`."""
SWITCHES = frozenset({"leader_proxy_ssl_ignore_hostname"})
"""`--name`, or not there."""
NUMBERS = frozenset(
    {"decline_offer_duration", "draining_seconds", "event_stream_max_outstanding_messages",
     "failover_timeout", "http_max_concurrent_requests", "kill_chunk_size", "kill_retry_timeout",
     "launch_token_refresh_interval", "launch_tokens", "leader_proxy_connection_timeout",
     "leader_proxy_max_open_connections", "leader_proxy_read_timeout", "local_port_max",
     "local_port_min", "max_apps", "max_concurrent_marathon_health_checks",
     "max_instances_per_offer", "max_running_deployments", "mesos_heartbeat_failure_threshold",
     "mesos_heartbeat_interval", "metrics_datadog_port",
     "metrics_datadog_transmission_interval_ms", "metrics_histogram_reservoir_resetting_chunks",
     "metrics_histogram_reservoir_resetting_interval_ms",
     "metrics_histogram_reservoir_significant_digits", "metrics_statsd_port",
     "metrics_statsd_transmission_interval_ms", "min_revive_offers_interval",
     "offer_matching_timeout", "on_elected_prepare_timeout", "reconciliation_initial_delay",
     "reconciliation_interval", "revive_offers_repetitions", "scale_apps_initial_delay",
     "scale_apps_interval", "storage_compaction_interval", "storage_compaction_scan_batch_size",
     "task_launch_confirm_timeout", "task_launch_timeout", "task_lost_expunge_initial_delay",
     "task_lost_expunge_interval", "task_reservation_timeout", "zk_compression_threshold",
     "zk_connection_timeout", "zk_max_node_size", "zk_max_versions", "zk_session_timeout",
     "zk_timeout"}
)  # fmt: skip
"""Whole numbers; times are milliseconds, but `failover_timeout`, `draining_seconds` and
`storage_compaction_interval`, which are seconds."""
TEXTS = frozenset(
    {"accepted_resource_roles_default_behavior", "access_control_allow_origin", "backup_location",
     "default_network_name", "deprecated_features", "enable_features", "env_vars_prefix",
     "executor", "gpu_scheduling_behavior", "http_realm", "logging_level", "logstash",
     "mesos_bridge_name", "mesos_leader_ui_url", "mesos_role", "metrics_datadog_host",
     "metrics_datadog_protocol", "metrics_name_prefix", "metrics_statsd_host",
     "new_group_enforce_role", "plugin_conf", "plugin_dir", "sentry_tags", "webui_url"}
)  # fmt: skip
FLAGS = OWN_FLAGS | TOGGLES | SWITCHES | NUMBERS | TEXTS
"""All that Marathon knows and that is no secret."""
_CHOICES = {
    "accepted_resource_roles_default_behavior": frozenset({"any", "reserved", "unreserved"}),
    "gpu_scheduling_behavior": frozenset({"restricted", "undefined", "unrestricted"}),
    "new_group_enforce_role": frozenset({"off", "top"}),
}
_CREDENTIAL = re.compile(r"secret_key=|access_key=|://[^/@]*:[^/@]*@")


def check(given: Flags) -> None:
    """Refuse flags that Marathon would not start with, or that are not for the caller to set.

    Raises:
        ArgumentsError: naming the flag, and the nearest known one.
    """
    for name in sorted(SECRET_FLAGS & given.keys()):
        msg = (
            f"marathon: expected no secret among flags, saw {name!r}: configuration and command "
            "lines are read by many. Those that it needs are taken from the platform's secrets"
        )
        raise ArgumentsError(msg)
    check_flags("marathon", given, FLAGS, OWN_FLAGS)
    for name, value in sorted(given.items()):
        if (expected := _expected(name, value)) is not None:
            msg = f"marathon: expected flag {name!r} to be {expected}, saw {value!r}"
            raise ArgumentsError(msg)


def with_ours(given: Flags) -> dict[str, Value]:
    """Flags whose `enable_features` names what the edge and migrations rely on, too."""
    asked = [name for name in str(given.get("enable_features", "")).split(",") if name]
    features = ",".join(dict.fromkeys((TASK_KILLING, *asked)))
    return {**given, "enable_features": features}


def _expected(name: str, value: Value) -> str | None:
    """What a flag should be; None when it is that."""
    if name in TOGGLES | SWITCHES:
        return None if isinstance(value, bool) else "true or false"
    if name in NUMBERS:
        is_whole = not isinstance(value, bool) and re.fullmatch(r"\d+", str(value))
        return None if is_whole else "a whole number"
    return _expected_text(name, value)


def _expected_text(name: str, value: Value) -> str | None:
    # Marathon takes arguments from a file where one is a secret, and that has no quotes.
    if not isinstance(value, str) or not re.fullmatch(r"\S+", value):
        return "a text without blanks"
    if _CREDENTIAL.search(value):
        return "without credentials, which configuration and command lines would show"
    if name in _CHOICES and value not in _CHOICES[name]:
        return f"one of {', '.join(sorted(_CHOICES[name]))}"
    if name == "enable_features" and not FEATURES.issuperset(value.split(",")):
        return f"some of {', '.join(sorted(FEATURES))}, by commas"
    return None


def words(flags: Flags) -> tuple[str, ...]:
    """Flags as Marathon's command line has them."""
    found: list[str] = []
    for name, value in flags.items():
        if isinstance(value, bool):
            off = () if name in SWITCHES else (f"--disable_{name}",)
            found += (f"--{name}",) if value else off
        else:
            found += (f"--{name}", str(value))
    return tuple(found)
