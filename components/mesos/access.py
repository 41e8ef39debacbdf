"""Who may use a cluster, and for what: principals and the ACLs of masters, rendered once.

A tenant is a role with its share; principals are who subscribes frameworks with it. Both are
declared in one place, and everything that has to know them is made of it: the ACL document, the
names of the files that hold secrets, quota and weight. Secrets are never in here, only the name of
the file that holds `principal:secret`.

Frameworks of the platform's own have a principal each: it subscribes with its role, runs tasks as
the users that are named, and does nothing else. So have agents where they are to say who they are:
theirs registers agents; and the probe and Mesos-DNS where they look at the cluster: their own see
and do nothing.
Without rules each credential that a master knows is an operator's, so these have rules wherever
they are known; whoever else is known may do everything.
With tenants what no rule allows is refused (`permissive` is off); the operator may do everything,
and a tenant's principal sees, runs and ends what is its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.errors import ArgumentsError
from components.workload import Secret

OPERATOR = "operator"
AGENT = "agent"
MARATHON = "marathon"
SAMPLE = "sample"
PROBE = "probe"
MESOS_DNS = "mesos-dns"
COMMON_ROLE = "*"
ZOOKEEPER = "zookeeper-mesos"
"""Secret with `user:password` of masters, agents and frameworks on ZooKeeper."""
_OWN_PRINCIPALS = (OPERATOR, AGENT, MARATHON, SAMPLE, PROBE, MESOS_DNS)
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?")
_ROLE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
# Actions on what everybody has, with the word that their rules call their objects by.
_OPERATOR_ACTIONS = {
    "deactivate_agents": "agents",
    "drain_agents": "agents",
    "get_endpoints": "paths",
    "get_maintenance_schedules": "machines",
    "get_maintenance_statuses": "machines",
    "get_quotas": "roles",
    "mark_agents_gone": "agents",
    "reactivate_agents": "agents",
    "set_log_level": "level",
    "start_maintenances": "machines",
    "stop_maintenances": "machines",
    "update_maintenance_schedules": "machines",
    "update_quotas": "roles",
    "update_weights": "roles",
    "view_flags": "flags",
}
_ROLE_ACTIONS = {
    "create_volumes": "roles",
    "register_frameworks": "roles",
    "reserve_resources": "roles",
    "resize_volume": "roles",
    "view_roles": "roles",
}
_USER_ACTIONS = {
    "access_sandboxes": "users",
    "run_tasks": "users",
    "view_containers": "users",
    "view_executors": "users",
    "view_frameworks": "users",
    "view_tasks": "users",
}
_OWN_ACTIONS = {
    "destroy_volumes": "creator_principals",
    "teardown_frameworks": "framework_principals",
    "unreserve_resources": "reserver_principals",
}
# Flags, sandboxes and what runs in a container are nothing that is on a map.
_SEEN_BY_PROBE = (
    *("get_endpoints", "get_maintenance_schedules", "get_maintenance_statuses", "get_quotas"),
    *("view_executors", "view_frameworks", "view_roles", "view_tasks"),
)
# Of what it reads, a master's state, names are made of these and of agents, which all may see.
_SEEN_BY_MESOS_DNS = ("view_frameworks", "view_tasks")


@dataclass(frozen=True)
class Principal:
    """Somebody who subscribes frameworks. `users` are those of the hosts that its tasks may run as.

    Raises:
        ArgumentsError: a name that no file can have, or that the platform uses itself.
    """

    name: str
    users: tuple[str, ...] = ("nobody",)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in _OWN_PRINCIPALS:
            msg = (
                f"expected a principal named by {_NAME.pattern} and none of the platform's own "
                f"({', '.join(_OWN_PRINCIPALS)}), saw {self.name!r}"
            )
            raise ArgumentsError(msg)
        if not self.users:
            msg = f"principal {self.name}: expected a user that its tasks run as, saw none"
            raise ArgumentsError(msg)

    @property
    def secret(self) -> str:
        """File with `principal:secret`."""
        return secret_of(self.name)


@dataclass(frozen=True)
class Framework:
    """A framework of the platform's own, named as its principal, and the role that it subscribes
    with. `users`: see `Principal`."""

    name: str
    users: tuple[str, ...] = ("root",)
    role: str = COMMON_ROLE

    @property
    def secret(self) -> str:
        """File with `principal:secret`."""
        return secret_of(self.name)


@dataclass(frozen=True)
class Tenant:
    """A role, its share of the cluster, and who subscribes with it.

    `limits` and `guarantees` are scalars by resource (cpus; mem and disk in MB); `weight` is the
    share relative to others, of what no guarantee holds back.

    Raises:
        ArgumentsError: values that masters refuse.
    """

    role: str
    weight: float = 1.0
    limits: Mapping[str, float] = field(default_factory=dict[str, float])
    guarantees: Mapping[str, float] = field(default_factory=dict[str, float])
    principals: tuple[Principal, ...] = ()

    def __post_init__(self) -> None:
        if not _ROLE.fullmatch(self.role):
            msg = f"expected a role such as dev or dev/web, saw {self.role!r}"
            raise ArgumentsError(msg)
        if not self.weight > 0:
            msg = f"role {self.role}: expected a weight above 0, saw {self.weight:g}"
            raise ArgumentsError(msg)
        if "/" in self.role and (self.limits or self.guarantees):
            msg = f"role {self.role}: masters keep quota of top-level roles alone: set that one's"
            raise ArgumentsError(msg)
        for name, kept in self.guarantees.items():
            limit = self.limits.get(name)
            if kept < 0 or (limit is not None and limit < kept):
                msg = (
                    f"role {self.role}: expected a guarantee of {name} from 0 to its limit, saw "
                    f"{kept:g} with a limit of {'none' if limit is None else f'{limit:g}'}"
                )
                raise ArgumentsError(msg)


def secret_of(principal: str) -> str:
    """File with `principal:secret`."""
    return Secret.MESOS_OPERATOR if principal == OPERATOR else f"principal-{principal}"


@dataclass(frozen=True)
class Access:
    """All tenants of a cluster. `asks_agents`: agents say who they are without tenants too;
    `frameworks` are the platform's own; `is_probed`: the probe looks at the cluster;
    `has_mesos_dns`: so does Mesos-DNS.

    Raises:
        ArgumentsError: a role or a principal is declared twice.
    """

    tenants: tuple[Tenant, ...] = ()
    asks_agents: bool = False
    frameworks: tuple[Framework, ...] = ()
    is_probed: bool = False
    has_mesos_dns: bool = False

    def __post_init__(self) -> None:
        _once("role", [tenant.role for tenant in self.tenants])
        _once("principal", [one.name for one in self.principals])

    @property
    def principals(self) -> tuple[Principal, ...]:
        """Everybody who subscribes frameworks."""
        return tuple(one for tenant in self.tenants for one in tenant.principals)

    @property
    def agent_secret(self) -> str | None:
        """Secret of agents; None while nobody asks them who they are."""
        return secret_of(AGENT) if self.asks_agents or self.tenants else None

    @property
    def master_secrets(self) -> tuple[str, ...]:
        """Secrets that masters must know, besides the operator's."""
        agents = () if self.agent_secret is None else (self.agent_secret,)
        onlookers = map(secret_of, self._onlookers)
        return (*agents, *onlookers, *(one.secret for one in (*self.frameworks, *self.principals)))

    def check_capacity(self, capacity: Mapping[str, float]) -> None:
        """Refuse guarantees that all agents together cannot give: masters would, once they are
        there. A limit beyond them is none of that: it holds for agents that are yet to come.

        Raises:
            ArgumentsError: naming the resource and who asks for how much.
        """
        for resource, there in capacity.items():
            asked = {
                t.role: t.guarantees[resource] for t in self.tenants if resource in t.guarantees
            }
            if sum(asked.values()) > there:
                who = ", ".join(f"{role} {amount:g}" for role, amount in sorted(asked.items()))
                msg = (
                    f"expected guarantees of {resource} of at most {there:g}, which is what all "
                    f"agents offer, saw {sum(asked.values()):g} ({who}): lower them, or add agents"
                )
                raise ArgumentsError(msg)

    def acls(self) -> dict[str, Any] | None:
        """The ACL document of masters; None: everybody who is known may do everything."""
        if not self.master_secrets:
            return None
        if not self.tenants:
            return self._rules_of_the_platforms_own()
        rules: dict[str, Any] = {"permissive": False}
        for actions in (_OPERATOR_ACTIONS, _ROLE_ACTIONS, _USER_ACTIONS, _OWN_ACTIONS):
            for action, objects in actions.items():
                rules[action] = [_rule([OPERATOR], objects, None)]
        rules["register_agents"] = [_rule([OPERATOR, AGENT], "agents", None)]
        for own in self._rules_of_own:
            for action, rule in own.items():
                rules[action].append(rule)
        for tenant in self.tenants:
            for one in tenant.principals:
                self._allow(rules, tenant, one)
        return rules

    def _rules_of_the_platforms_own(self) -> dict[str, Any]:
        """Agents register and nobody else does; frameworks subscribe and run tasks; onlookers see;
        none of them does anything else.
        """
        asked = () if self.agent_secret is None else (AGENT,)
        restricted = [*asked, *self._onlookers, *(own.name for own in self.frameworks)]
        rules: dict[str, Any] = {"permissive": True}
        for actions in (_OPERATOR_ACTIONS, _ROLE_ACTIONS, _USER_ACTIONS, _OWN_ACTIONS):
            for action, objects in actions.items():
                allowed = [own[action] for own in self._rules_of_own if action in own]
                refused = {"principals": {"values": restricted}, objects: {"type": "NONE"}}
                rules[action] = [*allowed, refused]
        anybody = {"type": "NONE"} if asked else {"values": restricted}
        nobody = {"principals": anybody, "agents": {"type": "ANY" if asked else "NONE"}}
        rules["register_agents"] = [*(_rule([one], "agents", None) for one in asked), nobody]
        return rules

    @property
    def _rules_of_own(self) -> list[dict[str, dict[str, Any]]]:
        """What each of the platform's own is let do, by action; agents have one rule more."""
        found = [_rules_of(own) for own in self.frameworks]
        objects = _OPERATOR_ACTIONS | _ROLE_ACTIONS | _USER_ACTIONS
        for name, seen in self._onlookers.items():
            found.append({one: _rule([name], objects[one], None) for one in seen})
        return found

    @property
    def _onlookers(self) -> dict[str, tuple[str, ...]]:
        """Those that see and do nothing, with the actions that let them."""
        probe = {PROBE: _SEEN_BY_PROBE} if self.is_probed else {}
        names = {MESOS_DNS: _SEEN_BY_MESOS_DNS} if self.has_mesos_dns else {}
        return {**probe, **names}

    @staticmethod
    def _allow(rules: dict[str, Any], tenant: Tenant, one: Principal) -> None:
        # Whoever has a role has those below it.
        roles = [tenant.role, f"{tenant.role}/%"]
        for action, objects in _ROLE_ACTIONS.items():
            rules[action].append(_rule([one.name], objects, roles))
        for action, objects in _USER_ACTIONS.items():
            rules[action].append(_rule([one.name], objects, one.users))
        for action, objects in _OWN_ACTIONS.items():
            rules[action].append(_rule([one.name], objects, [one.name]))


def _rule(principals: Sequence[str], objects: str, values: Sequence[str] | None) -> dict[str, Any]:
    allowed: dict[str, Any] = {"type": "ANY"} if values is None else {"values": list(values)}
    return {"principals": {"values": list(principals)}, objects: allowed}


def _rules_of(own: Framework) -> dict[str, dict[str, Any]]:
    """All that a framework of the platform's own must be let do, by action."""
    return {
        "register_frameworks": _rule([own.name], "roles", [own.role]),
        "run_tasks": _rule([own.name], "users", own.users),
    }


def _once(what: str, names: Sequence[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        msg = f"expected each {what} once, saw {', '.join(twice)} more often"
        raise ArgumentsError(msg)


AGENT_SECRET = secret_of(AGENT)
MARATHON_SECRET = secret_of(MARATHON)
"""Marathon's own with masters, and that of whoever declares apps: an app is a command."""
SAMPLE_SECRET = secret_of(SAMPLE)
"""The sample framework's own with masters, and that of whoever has its tasks moved."""
PROBE_SECRET = secret_of(PROBE)
"""The probe's own with masters: it sees, and does nothing."""
MESOS_DNS_SECRET = secret_of(MESOS_DNS)
"""That of Mesos-DNS with masters: it sees frameworks and tasks, and does nothing."""
NOBODY = Access()
"""Nobody but the operator is known."""
