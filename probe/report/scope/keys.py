"""Which key of Scope's reports is which column of ours, in both directions. Data only.

Scope's values are texts, its ids carry a tag (`…;<host>`). The names are those of its source,
github.com/weaveworks/scope at 12175b9, `report/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One of Scope's topologies. `tag` ends its ids; keys are of Latest, sets and metrics."""

    ours: str
    tag: str
    latest: Mapping[str, str]
    sets: Mapping[str, str]
    metrics: Mapping[str, str]
    shape: str
    label: str


KINDS: Mapping[str, Kind] = {
    "Host": Kind(
        "host",
        "<host>",
        {"host_name": "name", "kernel_version": "kernel", "os": "os"},
        {"local_networks": "networks"},
        {
            "host_cpu_usage_percent": "cpu_percent",
            "host_mem_usage_bytes": "memory_used_bytes",
            "load1": "load1",
        },
        "circle",
        "host",
    ),
    "Process": Kind(
        "process",
        "",
        {
            "pid": "pid",
            "ppid": "ppid",
            "name": "name",
            "cmdline": "command_line",
            "threads": "threads",
            "docker_container_id": "container",
        },
        {},
        {
            "process_cpu_usage_percent": "cpu_percent",
            "process_memory_usage_bytes": "rss_bytes",
            "open_files_count": "open_files",
        },
        "square",
        "process",
    ),
    "Container": Kind(
        "container",
        "<container>",
        {
            "docker_container_name": "name",
            "docker_container_command": "command",
            "docker_container_hostname": "hostname",
            "docker_container_state": "state",
            "docker_container_restart_count": "restarts",
            "docker_image_id": "image",
            "docker_image_name": "image_name",
        },
        {
            "docker_container_ips": "addresses",
            "docker_container_ports": "ports",
            "docker_container_networks": "networks",
        },
        {"docker_cpu_total_usage": "cpu_percent", "docker_memory_usage": "memory_bytes"},
        "hexagon",
        "container",
    ),
    "ContainerImage": Kind(
        "container_image",
        "<container_image>",
        {"docker_image_name": "name"},
        {},
        {},
        "hexagon",
        "image",
    ),
}
# Prefixes of Latest keys that Scope makes of labels.
LABEL_PREFIXES = ("docker_label_", "label_")
TAGS = {kind.ours: kind.tag for kind in KINDS.values()}
# The greatest that is one: a client that is told by edge has a greater number.
PORT_MAX = 65_535
