"""Answers of the REST interface, from what Marathon holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stacks.local.marathon.definition import App
from stacks.local.marathon.groups import ROOT, parent
from stacks.local.marathon.groups import render as render_group
from stacks.local.marathon.service_ports import service_ports
from stacks.local.mesos.values import Json

if TYPE_CHECKING:
    from stacks.local.marathon.service import Marathon

VERSION = "1.10.26"


def app(marathon: Marathon, one: App, *, tasks: bool = False, failure: bool = False) -> Json:
    """An app with its counts and deployments."""
    state = marathon.state
    made: Json = {
        **one.rendered(),
        **state.counts(one.id),
        "deployments": [{"id": name} for name in marathon.deployments.of_app(one.id)],
    }
    if tasks:
        made["tasks"] = [instance.rendered() for instance in state.of_app(one.id)]
    if failure and one.id in state.failures:
        made["lastTaskFailure"] = state.failures[one.id]
    return made


def tasks(marathon: Marathon, app_id: str | None = None, state: str | None = None) -> Json:
    """Tasks of all apps or of one, with their apps' service ports."""
    found: list[Json] = []
    for instance in marathon.state.instances.values():
        if app_id is not None and instance.app_id != app_id:
            continue
        if state == "running" and not instance.is_running:
            continue
        if state == "staging" and instance.state not in {"TASK_STAGING", "TASK_STARTING"}:
            continue
        shown = instance.rendered()
        owner = marathon.state.tree.apps.get(instance.app_id)
        if owner is not None:
            shown["servicePorts"] = service_ports(owner)
        found.append(shown)
    return {"tasks": found}


def group(marathon: Marathon, path: str, *, counts: bool) -> Json:
    """A group; with counts its apps are as /v2/apps has them."""
    made = render_group(marathon.state.tree, path)

    def enrich(node: Json) -> None:
        node["apps"] = [
            app(marathon, marathon.state.tree.apps[one["id"]], tasks=True, failure=True)
            for one in node["apps"]
        ]
        for inner in node["groups"]:
            enrich(inner)

    if counts:
        enrich(made)
    return made


def group_ids(marathon: Marathon, path: str) -> list[str]:
    """Direct children of a group."""
    tree = marathon.state.tree
    return sorted(name for name in tree.groups if name != ROOT and parent(name) == path)


def info(marathon: Marathon) -> Json:
    """GET /v2/info."""
    settings = marathon.settings
    master = marathon.mesos_leader
    return {
        "name": settings.framework_name,
        "version": VERSION,
        "buildref": "stand-in",
        "elected": marathon.latch.is_leader,
        "leader": marathon.latch.leader,
        "frameworkId": marathon.state.framework_id,
        "marathon_config": {
            "access_control_allow_origin": None,
            "checkpoint": True,
            "decline_offer_duration": settings.decline_offer_duration_ms,
            "default_network_name": None,
            "env_vars_prefix": None,
            "executor": "//cmd",
            "failover_timeout": settings.failover_timeout_s,
            "features": sorted(settings.features),
            "framework_name": settings.framework_name,
            "ha": True,
            "hostname": settings.hostname or settings.listener.host,
            "launch_token": settings.launch_tokens,
            "launch_token_refresh_interval": settings.launch_token_refresh_interval_ms,
            "leader_proxy_connection_timeout_ms": 5000,
            "leader_proxy_read_timeout_ms": 10_000,
            "local_port_max": settings.local_port_max,
            "local_port_min": settings.local_port_min,
            "master": settings.master,
            "max_instances_per_offer": settings.max_instances_per_offer,
            "mesos_bridge_name": "mesos-bridge",
            "mesos_heartbeat_failure_threshold": 5,
            "mesos_heartbeat_interval": 15_000,
            "mesos_leader_ui_url": None if master is None else f"http://{master.address}/",
            "mesos_role": settings.mesos_role,
            "mesos_user": settings.mesos_user,
            "min_revive_offers_interval": settings.min_revive_offers_interval_ms,
            "offer_matching_timeout": 3000,
            "on_elected_prepare_timeout": 180_000,
            "reconciliation_initial_delay": settings.reconciliation_initial_delay_ms,
            "reconciliation_interval": settings.reconciliation_interval_ms,
            "scale_apps_initial_delay": settings.scale_apps_initial_delay_ms,
            "scale_apps_interval": settings.scale_apps_interval_ms,
            "store_cache": True,
            "task_launch_confirm_timeout": settings.task_launch_timeout_ms,
            "task_launch_timeout": settings.task_launch_timeout_ms,
            "task_lost_expunge_initial_delay": 300_000,
            "task_lost_expunge_interval": 30_000,
            "task_reservation_timeout": 20_000,
            "webui_url": f"http://{settings.host_port}",
        },
        "zookeeper_config": {
            "zk": settings.zk,
            "zk_compression": True,
            "zk_compression_threshold": 65_536,
            "zk_connection_timeout": 10_000,
            "zk_max_node_size": 1_024_000,
            "zk_max_versions": 50,
            "zk_session_timeout": int(settings.zk_session_timeout_s * 1000),
            "zk_timeout": 10_000,
        },
        "http_config": {"http_port": settings.listener.port, "https_port": 8443},
    }
