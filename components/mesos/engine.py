"""Which Mesos runs: the retired original, or Clusterd, its living fork; and what each can.

Both speak one protocol and take nearly the same flags. They differ in the control groups of a
host that they know, which decides where agents run: the original's last release knows version 1
alone, Clusterd's of 0.6 to 0.9 version 2 alone (its changelog; the head takes both again).

A flag that a program does not know ends it at its start, and an unknown variable `MESOS_*` is
ignored: so flags are held to the lists in here, which are those of 1.11's documentation.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from components.errors import ArgumentsError

Flags = Mapping[str, str]


class Engine(StrEnum):
    """Whose program it is."""

    MESOS = "mesos"
    CLUSTERD = "clusterd"


class CgroupVersion(IntEnum):
    """Of a host's control groups."""

    V1 = 1
    V2 = 2


_VERSION = re.compile(r"(?P<mesos>1\.\d+)\.\d+(-(?P<clusterd>0\.\d+)\.\d+)?")


@dataclass(frozen=True)
class Release:
    """A release, as it calls itself: `1.11.0`, or `1.11.0-0.9.0` of Clusterd.

    Raises:
        ArgumentsError: no such form, or Clusterd's own number is missing or one too many.
    """

    engine: Engine = Engine.CLUSTERD
    version: str = "1.11.0-0.9.0"

    def __post_init__(self) -> None:
        found = _VERSION.fullmatch(self.version)
        expected = "1.11.0-0.9.0" if self.engine is Engine.CLUSTERD else "1.11.0"
        own = found is not None and found["clusterd"] is not None
        if found is None or own is not (self.engine is Engine.CLUSTERD):
            msg = f"expected a version of {self.engine} such as {expected}, saw {self.version!r}"
            raise ArgumentsError(msg)

    @property
    def cgroup_versions(self) -> frozenset[CgroupVersion]:
        """Versions of control groups that its agents can use."""
        found = _VERSION.fullmatch(self.version)
        assert found is not None
        if self.engine is Engine.CLUSTERD:
            own = int(found["clusterd"].partition(".")[2])
            first, last = 6, 9
            if own < first:
                return frozenset({CgroupVersion.V1})
            return frozenset({CgroupVersion.V2} if own <= last else CgroupVersion)
        # 1.12 was never released; builds of it know both.
        unreleased = 12
        minor = int(found["mesos"].partition(".")[2])
        return frozenset(CgroupVersion if minor >= unreleased else {CgroupVersion.V1})


DEFAULT_RELEASE = Release()


def check_flags(
    what: str, given: Iterable[str], known: frozenset[str], own: frozenset[str]
) -> None:
    """Refuse flags that a program does not know, or that follow from the declaration.

    Raises:
        ArgumentsError: naming them, and the nearest known one.
    """
    for name in sorted(given):
        if name in own:
            msg = f"{what}: flag {name!r} follows from what is declared, it is not for flags to set"
            raise ArgumentsError(msg)
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f": did you mean {near[0]!r}?" if near else ": see its documentation"
            msg = f"{what}: expected a flag that the program knows, saw {name!r}{hint}"
            raise ArgumentsError(msg)


_BOTH = frozenset(
    {"advertise_ip", "advertise_port", "authentication_timeout", "authorizers", "domain",
     "external_log_file", "firewall_rules", "help", "hooks", "hostname", "hostname_lookup",
     "http_authenticators", "initialize_driver_logging", "ip", "ip_discovery_command", "log_dir",
     "logbufsecs", "logging_level", "memory_profiling", "modules", "modules_dir", "port", "quiet",
     "version", "webui_dir", "work_dir", "zk_session_timeout"}
)  # fmt: skip
MASTER_FLAGS = _BOTH | frozenset(
    {"acls", "agent_ping_timeout", "agent_removal_rate_limit", "agent_reregister_timeout",
     "allocation_interval", "allocator", "allocator_agent_recovery_factor",
     "allocator_recovery_timeout", "authenticate_agents", "authenticate_frameworks",
     "authenticate_http_frameworks", "authenticate_http_readonly", "authenticate_http_readwrite",
     "authentication_v0_timeout", "authenticators", "cluster", "credentials",
     "fair_sharing_excluded_resource_names", "filter_gpu_resources", "framework_sorter",
     "http_framework_authenticators", "log_auto_initialize", "master_contender", "master_detector",
     "max_agent_ping_timeouts", "max_completed_frameworks", "max_completed_tasks_per_framework",
     "max_operator_event_stream_subscribers", "max_unreachable_tasks_per_framework",
     "min_allocatable_resources", "offer_constraints_re2_max_mem",
     "offer_constraints_re2_max_program_size", "offer_timeout", "publish_per_framework_metrics",
     "quorum", "rate_limits", "recovery_agent_removal_limit", "registry", "registry_fetch_timeout",
     "registry_gc_interval", "registry_max_agent_age", "registry_max_agent_count",
     "registry_store_timeout", "registry_strict", "require_agent_domain", "role_sorter", "roles",
     "root_submissions", "user_sorter", "weights", "whitelist", "zk"}
)  # fmt: skip
AGENT_FLAGS = _BOTH | frozenset(
    {"acls", "agent_features", "agent_subsystems", "allowed_capabilities",
     "appc_simple_discovery_uri_prefix", "appc_store_dir", "attributes",
     "authenticate_http_executors", "authenticate_http_readonly", "authenticate_http_readwrite",
     "authenticatee", "authentication_backoff_factor", "authentication_timeout_max",
     "authentication_timeout_min", "bounding_capabilities",
     "cgroups_cpu_enable_pids_and_tids_count", "cgroups_destroy_timeout", "cgroups_enable_cfs",
     "cgroups_hierarchy", "cgroups_limit_swap", "cgroups_net_cls_primary_handle",
     "cgroups_net_cls_secondary_handles", "cgroups_root", "check_agent_port_range_only",
     "container_disk_watch_interval", "container_logger", "containerizers", "credential",
     "csi_plugin_config_dir", "default_container_dns", "default_container_info",
     "default_container_shm_size", "default_role", "disallow_sharing_agent_ipc_namespace",
     "disallow_sharing_agent_pid_namespace", "disk_profile_adaptor", "disk_watch_interval",
     "docker", "docker_config", "docker_ignore_runtime", "docker_kill_orphans",
     "docker_mesos_image", "docker_registry", "docker_remove_delay", "docker_socket",
     "docker_stop_timeout", "docker_store_dir", "docker_volume_checkpoint_dir",
     "docker_volume_chown", "effective_capabilities", "enforce_container_disk_quota",
     "ephemeral_ports_per_container", "executor_environment_variables",
     "executor_registration_timeout", "executor_reregistration_retry_interval",
     "executor_reregistration_timeout", "executor_shutdown_grace_period", "fetcher_cache_dir",
     "fetcher_cache_size", "fetcher_stall_timeout", "frameworks_home", "gc_delay",
     "gc_disk_headroom", "gc_non_executor_container_sandboxes", "hadoop_home",
     "host_path_volume_force_creation", "http_command_executor", "http_credentials",
     "http_executor_authenticators", "http_heartbeat_interval", "image_gc_config",
     "image_providers", "image_provisioner_backend", "isolation", "jwt_secret_key", "launcher",
     "launcher_dir", "master", "master_detector", "max_completed_executors_per_framework",
     "memory_profiling", "network_cni_config_dir", "network_cni_metrics", "network_cni_plugins_dir",
     "network_cni_root_dir_persist", "network_enable_snmp_statistics",
     "network_enable_socket_statistics_details", "network_enable_socket_statistics_summary",
     "network_link_speed", "nvidia_gpu_devices", "oversubscribed_resources_interval",
     "perf_duration", "perf_events", "perf_interval", "qos_controller",
     "qos_correction_interval_min", "reconfiguration_policy", "recover", "recovery_timeout",
     "registration_backoff_factor", "resource_estimator", "resource_provider_config_dir",
     "resources", "revocable_cpu_low_priority", "runtime_dir", "sandbox_directory",
     "seccomp_config_dir", "seccomp_profile_name", "secret_resolver", "strict", "switch_user",
     "systemd_enable_support", "systemd_runtime_directory", "volume_gid_range",
     "xfs_kill_containers", "xfs_project_range"}
)  # fmt: skip
