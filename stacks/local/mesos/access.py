"""Who somebody is, and what they may do: credentials and ACLs of a master.

ACLs are those of Mesos' docs/authorization.md: for each action a list of rules, the first that
matches decides, and `permissive` decides where none does. A call that is not allowed is answered
403; lists leave out what may not be seen, silently. Actions that the stand-in has no call for are
accepted and do nothing.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from stacks.local.errors import CallError, StartError
from stacks.local.mesos.cluster import Cluster, Framework
from stacks.local.mesos.values import Json
from stacks.local.process import read_secret
from stacks.local.settings import MasterSettings

# What an action's rules call their objects.
_OBJECTS = {
    "register_frameworks": "roles",
    "run_tasks": "users",
    "teardown_frameworks": "framework_principals",
    "update_quotas": "roles",
    "get_quotas": "roles",
    "update_weights": "roles",
    "view_roles": "roles",
    "view_frameworks": "users",
    "view_tasks": "users",
    "view_executors": "users",
    "view_flags": "flags",
    "get_endpoints": "paths",
    "update_maintenance_schedules": "machines",
    "get_maintenance_schedules": "machines",
    "get_maintenance_statuses": "machines",
    "start_maintenances": "machines",
    "stop_maintenances": "machines",
    "drain_agents": "agents",
    "deactivate_agents": "agents",
    "reactivate_agents": "agents",
    "mark_agents_gone": "agents",
    "register_agents": "agents",
}
_ACTION_OF_CALL = {
    "UPDATE_MAINTENANCE_SCHEDULE": "update_maintenance_schedules",
    "START_MAINTENANCE": "start_maintenances",
    "STOP_MAINTENANCE": "stop_maintenances",
    "DRAIN_AGENT": "drain_agents",
    "DEACTIVATE_AGENT": "deactivate_agents",
    "REACTIVATE_AGENT": "reactivate_agents",
    "MARK_AGENT_GONE": "mark_agents_gone",
    "GET_FLAGS": "view_flags",
}


class Access:
    """Credentials by principal (None: nobody is asked), and rules."""

    def __init__(self, credentials: Mapping[str, str] | None, acls: Json | None = None) -> None:
        self._credentials = None if credentials is None else dict(credentials)
        self._acls = acls or {}

    @property
    def is_asked(self) -> bool:
        """Whether anybody has to say who they are."""
        return self._credentials is not None

    @property
    def restricts(self) -> bool:
        """Whether there are rules at all."""
        return bool(self._acls)

    def principal(self, header: str | None) -> str | None:
        """Who a header of basic authentication is of; None: nobody that is known."""
        if self._credentials is None or header is None or not header.startswith("Basic "):
            return None
        try:
            text = base64.b64decode(header.removeprefix("Basic "), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        name, _, secret = text.partition(":")
        known = self._credentials.get(name)
        if known is None or not hmac.compare_digest(known.encode(), secret.encode()):
            return None
        return name

    def allows(self, action: str, principal: str | None, item: str | None = None) -> bool:
        """Whether a rule lets somebody do something to an object; None: to any."""
        rules = cast("list[Json]", self._acls.get(action) or [])
        for rule in rules:
            subject: Json = rule.get("principals") or {}
            objects: Json = rule.get(_OBJECTS[action]) or {"type": "ANY"}
            if _matches(subject, principal) and _matches(objects, item):
                return subject.get("type") != "NONE" and objects.get("type") != "NONE"
        return bool(self._acls.get("permissive", True))

    def require(self, action: str, principal: str | None, item: str | None = None) -> None:
        """Refuse what is not allowed.

        Raises:
            CallError: 403 without a text, as real masters answer.
        """
        if not self.allows(action, principal, item):
            raise CallError(403, "")

    def require_call(self, call: Json, principal: str | None) -> None:
        """Refuse an operator call that is not allowed.

        Raises:
            CallError: see `require`.
        """
        kind = str(call.get("type"))
        body: Json = call.get(kind.lower()) or {}
        action = _ACTION_OF_CALL.get(kind)
        if action is not None:
            self.require(action, principal)
        elif kind == "UPDATE_QUOTA":
            for config in body.get("quota_configs") or ():
                self.require("update_quotas", principal, str(config["role"]))
        elif kind == "UPDATE_WEIGHTS":
            for info in body.get("weight_infos") or ():
                self.require("update_weights", principal, str(info["role"]))

    def view(self, cluster: Cluster, principal: str | None) -> Cluster:
        """The cluster without frameworks and tasks that somebody may not see."""
        if not self.restricts:
            return cluster

        def user(framework: Framework) -> str:
            return str(framework.info.get("user", ""))

        def seen(framework: Framework) -> Framework:
            if self.allows("view_tasks", principal, user(framework)):
                return framework
            empty = type(framework.completed)(maxlen=framework.completed.maxlen)
            return replace(framework, tasks={}, unreachable={}, completed=empty)

        def may_see(framework: Framework) -> bool:
            return self.allows("view_frameworks", principal, user(framework))

        return cluster.restricted(may_see, seen)

    def roles(self, action: str, names: list[str], principal: str | None) -> list[str]:
        """Those roles that somebody may see."""
        return [name for name in names if self.allows(action, principal, name)]


def _matches(entity: Json, value: str | None) -> bool:
    """Whether a rule speaks of a value; `dev/%` is everything below `dev`."""
    if entity.get("type") in {"ANY", "NONE"}:
        return True
    wanted = [str(one) for one in entity.get("values") or ()]
    if value is None:
        return False
    return any(
        value == one or (one.endswith("/%") and value.startswith(one.removesuffix("%")))
        for one in wanted
    )


def read_access(settings: MasterSettings) -> Access:
    """Read what a master is given.

    Raises:
        StartError: a file cannot be read, has another form, or names an unknown action.
    """
    credentials: dict[str, str] = {}
    for file in (settings.credential_file, *settings.principal_files):
        single = read_secret(file)
        if single is not None:
            name, _, secret = single.partition(":")
            credentials[name] = secret
    if settings.credentials_file is not None:
        for one in _document(settings.credentials_file).get("credentials") or ():
            credentials[str(one["principal"])] = str(one["secret"])
    file = settings.acls_file
    acls = settings.acls if file is None else _document(file)
    unknown = sorted(set(acls or {}) - {"permissive", *_OBJECTS, *_IGNORED})
    if unknown:
        msg = f"expected actions of Mesos in {file or 'acls'}, saw {unknown}: correct their names"
        raise StartError(msg)
    return Access(credentials or None, acls)


# Actions of things that the stand-in has not.
_IGNORED = frozenset(
    {
        "access_mesos_logs", "access_sandboxes", "attach_containers_input",
        "attach_containers_output", "create_block_disks", "create_mount_disks", "create_volumes",
        "destroy_block_disks", "destroy_mount_disks", "destroy_volumes", "get_containers",
        "kill_nested_containers", "kill_standalone_containers",
        "launch_nested_container_sessions", "launch_nested_containers",
        "launch_standalone_containers", "mark_resource_providers_gone",
        "modify_resource_provider_configs", "prune_images", "remove_nested_containers",
        "remove_standalone_containers", "reserve_resources", "resize_volume", "set_log_level",
        "unreserve_resources", "view_containers", "view_resource_providers",
        "view_standalone_containers", "wait_nested_containers", "wait_standalone_containers",
    }
)  # fmt: skip


def _document(path: Path) -> Json:
    try:
        content: Any = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        msg = f"expected a JSON document in {path}, saw {type(error).__name__}: write it anew"
        raise StartError(msg) from None
    if not isinstance(content, dict):
        msg = f"expected a JSON object in {path}, saw another kind: write it anew"
        raise StartError(msg)
    found: Json = content  # pyright: ignore[reportUnknownVariableType] - keys of JSON are text
    return found
