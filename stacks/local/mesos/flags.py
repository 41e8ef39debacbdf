"""What a master says of its flags: the names of the real one, with the values that apply here."""

from __future__ import annotations

from collections.abc import Mapping

from stacks.local.settings import AgentSettings, MasterSettings

_FIXED = {
    "allocator": "hierarchical",
    "allocator_agent_recovery_factor": "0.8",
    "allocator_recovery_timeout": "10mins",
    "authenticate_frameworks": "false",
    "authentication_v0_timeout": "15secs",
    "authenticators": "crammd5",
    "authorizers": "local",
    "filter_gpu_resources": "true",
    "framework_sorter": "drf",
    "help": "false",
    "hostname_lookup": "false",
    "http_authenticators": "basic",
    "initialize_driver_logging": "true",
    "logbufsecs": "0",
    "logging_level": "INFO",
    "max_completed_frameworks": "50",
    "max_completed_tasks_per_framework": "1000",
    "max_operator_event_stream_subscribers": "1000",
    "max_unreachable_tasks_per_framework": "1000",
    "memory_profiling": "false",
    "min_allocatable_resources": "cpus:0.01|mem:32",
    "offer_constraints_re2_max_mem": "4KB",
    "offer_constraints_re2_max_program_size": "100",
    "publish_per_framework_metrics": "true",
    "quiet": "true",
    "recovery_agent_removal_limit": "100%",
    "registry": "replicated_log",
    "registry_gc_interval": "15mins",
    "registry_max_agent_age": "2weeks",
    "registry_max_agent_count": "102400",
    "registry_strict": "false",
    "require_agent_domain": "false",
    "role_sorter": "drf",
    "root_submissions": "true",
    "version": "false",
    "webui_dir": "/usr/share/mesos/webui",
}


def duration(seconds: float) -> str:
    """As Mesos writes durations: the largest unit that leaves no fraction."""
    milliseconds = round(seconds * 1000)
    for unit, size in (
        ("weeks", 604_800_000),
        ("days", 86_400_000),
        ("hrs", 3_600_000),
        ("mins", 60_000),
        ("secs", 1000),
    ):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def with_flags(command: list[str], more: Mapping[str, str]) -> list[str]:
    """A command with further flags; they take the place of those of the same name, because the real
    programs refuse a flag that is given twice."""
    kept = [word for word in command if _name(word) not in more]
    return [*kept, *(f"--{name}={value}" for name, value in sorted(more.items()))]


def _name(word: str) -> str:
    return word.removeprefix("--").removeprefix("no-").partition("=")[0]


def flags(settings: MasterSettings) -> dict[str, str]:
    """All flags as text, by name. The file with credentials is named, never read out."""
    asked = settings.credential_file or settings.credentials_file or settings.principal_files
    authenticated = "true" if asked else "false"
    frameworks = "true" if settings.authenticate_http_frameworks else "false"
    found = {
        **_FIXED,
        "agent_ping_timeout": duration(settings.agent_ping_timeout_s),
        "agent_reregister_timeout": duration(settings.agent_reregister_timeout_s),
        "authenticate_agents": "true" if settings.authenticate_agents else "false",
        "allocation_interval": duration(settings.allocation_interval_ms / 1000),
        "authenticate_http_frameworks": frameworks,
        "authenticate_http_readonly": authenticated,
        "authenticate_http_readwrite": authenticated,
        "hostname": settings.public_hostname,
        "ip": settings.ip,
        "log_auto_initialize": "true" if settings.log_auto_initialize else "false",
        "log_dir": str(settings.work_dir / "log"),
        "max_agent_ping_timeouts": str(settings.max_agent_ping_timeouts),
        "port": str(settings.port),
        "quorum": str(settings.quorum),
        "registry_fetch_timeout": duration(settings.registry_fetch_timeout_s),
        "registry_store_timeout": duration(settings.registry_store_timeout_s),
        "work_dir": str(settings.work_dir),
        "zk": settings.zk,
        "zk_session_timeout": duration(settings.zk_session_timeout_s),
    }
    if settings.cluster is not None:
        found["cluster"] = settings.cluster
    if settings.credential_file is not None:
        found["credentials"] = str(settings.credential_file)
    if settings.credentials_file is not None:
        found["credentials"] = str(settings.credentials_file)
    if settings.acls_file is not None:
        found["acls"] = str(settings.acls_file)
    return dict(sorted(found.items()))


def agent_flags(settings: AgentSettings) -> dict[str, str]:
    """An agent's, as text by name; those that say what it is and how it holds its tasks."""
    isolation = (
        "cgroups/cpu,cgroups/mem" if settings.isolation == "cgroups" else "posix/cpu,posix/mem"
    )
    found = {
        "attributes": ";".join(f"{k}:{v}" for k, v in sorted(settings.attributes.items())),
        "containerizers": "mesos",
        "executor_shutdown_grace_period": duration(settings.executor_shutdown_grace_period_s),
        "hostname": settings.public_hostname,
        "ip": settings.ip,
        "isolation": isolation,
        "launcher": "posix",
        "master": settings.master,
        "port": str(settings.port),
        "reconfiguration_policy": "additive",
        "registration_backoff_factor": duration(settings.registration_backoff_s),
        "strict": "true",
        "switch_user": "false",
        "work_dir": str(settings.work_dir),
    }
    found |= settings.flags
    return {name: value for name, value in sorted(found.items()) if value}
