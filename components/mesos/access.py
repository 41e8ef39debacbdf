"""Who may use a cluster, and for what: principals and the ACLs of masters, rendered once.

A tenant is a role with its share; principals are who subscribes frameworks with it. Both are
declared in one place, and everything that has to know them is made of it: the ACL document, the
names of the files that hold secrets, quota and weight. Secrets are never in here, only the name of
the file that holds `principal:secret`.

Where nobody is declared, the operator is the only principal and no ACL is rendered; or, where
agents are to say who they are, theirs is a second one, which registers agents and does nothing
else: without rules each credential that a master knows is an operator's. With tenants what no rule
allows is refused (`permissive` is off); the operator may do everything, agents may
register, and a principal sees, runs and ends what is its own.
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
ZOOKEEPER = "zookeeper-mesos"
"""Secret with `user:password` of masters, agents and frameworks on ZooKeeper."""
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


@dataclass(frozen=True)
class Principal:
    """Somebody who subscribes frameworks. `users` are those of the hosts that its tasks may run as.

    Raises:
        ArgumentsError: a name that no file can have, or that the platform uses itself.
    """

    name: str
    users: tuple[str, ...] = ("nobody",)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in {OPERATOR, AGENT}:
            msg = (
                f"expected a principal named by {_NAME.pattern} and not {OPERATOR} or {AGENT}, saw "
                f"{self.name!r}"
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
    """All tenants of a cluster. `asks_agents`: agents say who they are without tenants too.

    Raises:
        ArgumentsError: a role or a principal is declared twice.
    """

    tenants: tuple[Tenant, ...] = ()
    asks_agents: bool = False

    def __post_init__(self) -> None:
        _once("role", [tenant.role for tenant in self.tenants])
        _once("principal", [one.name for one in self.principals])

    @property
    def principals(self) -> tuple[Principal, ...]:
        """Everybody who subscribes frameworks."""
        return tuple(one for tenant in self.tenants for one in tenant.principals)

    @property
    def is_restricted(self) -> bool:
        """Whether somebody besides the operator is known, and so ACLs are needed."""
        return self.asks_agents or bool(self.tenants)

    @property
    def agent_secret(self) -> str | None:
        """Secret of agents; None while nobody asks them who they are."""
        return secret_of(AGENT) if self.is_restricted else None

    @property
    def master_secrets(self) -> tuple[str, ...]:
        """Secrets that masters must know, besides the operator's."""
        if not self.is_restricted:
            return ()
        return (secret_of(AGENT), *(one.secret for one in self.principals))

    def check_capacity(self, capacity: Mapping[str, float]) -> None:
        """Refuse guarantees that all agents together cannot give: masters would, once they are
        there.

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
        if not self.is_restricted:
            return None
        if not self.tenants:
            return _rules_of_agents()
        rules: dict[str, Any] = {"permissive": False}
        for actions in (_OPERATOR_ACTIONS, _ROLE_ACTIONS, _USER_ACTIONS, _OWN_ACTIONS):
            for action, objects in actions.items():
                rules[action] = [_rule([OPERATOR], objects, None)]
        rules["register_agents"] = [_rule([OPERATOR, AGENT], "agents", None)]
        for tenant in self.tenants:
            for one in tenant.principals:
                self._allow(rules, tenant, one)
        return rules

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


def _rules_of_agents() -> dict[str, Any]:
    """Agents register, nobody else does, and they do nothing else."""
    subject = {"values": [AGENT]}
    rules: dict[str, Any] = {
        action: [{"principals": subject, objects: {"type": "NONE"}}]
        for actions in (_OPERATOR_ACTIONS, _ROLE_ACTIONS, _USER_ACTIONS, _OWN_ACTIONS)
        for action, objects in actions.items()
    }
    nobody = {"principals": {"type": "NONE"}, "agents": {"type": "ANY"}}
    rules["register_agents"] = [_rule([AGENT], "agents", None), nobody]
    return {"permissive": True, **rules}


def _once(what: str, names: Sequence[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        msg = f"expected each {what} once, saw {', '.join(twice)} more often"
        raise ArgumentsError(msg)


AGENT_SECRET = secret_of(AGENT)
NOBODY = Access()
"""Nobody but the operator is known."""
