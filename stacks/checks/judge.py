"""What is seen of a cluster, compared with what is declared. Pure: every judgement is evidence with
its numbers, and says what to do where it does not hold.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from clients.mesos.model import Agents, Quota
from clients.zookeeper.ensemble import CONFIGURATION_PATH
from components.network.cni import known
from stacks.checks.declared import Declared, Group, Resources
from stacks.migration.evidence import Evidence

Flags = Mapping[str, str]
APP_NAMES = "names of apps"
_TOLD_MAX = 4
_RECOVERED = "registrar/log/recovered"
_ENSEMBLE_SIZE = "registrar/log/ensemble_size"
_ELECTED = "master/elected"
_GOING_ON = frozenset(
    {"TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_UNREACHABLE"}
)
_REFUSALS = frozenset({401, 403})


@dataclass(frozen=True)
class Server:
    """A server of an ensemble: its mode, None where it does not answer."""

    address: str
    mode: str | None


@dataclass(frozen=True)
class Canary:
    """What a canary told of its agent: whether it found itself within the limits of its resources;
    None unless it ended by itself. One that is not `limited` did not look."""

    task_id: str
    limited: bool
    ok: bool | None
    at: float
    states: tuple[str, ...] = ()

    @property
    def why_untold(self) -> str | None:
        """Why it told nothing of its agent; None: it did."""
        if not self.limited:
            return f"{self.task_id} did not look"
        if self.ok is not None:
            return None
        if self.states and self.states[-1] not in _GOING_ON:
            return f"{self.task_id} did not end by itself ({self.states[-1]})"
        return f"{self.task_id} has not ended"


def ensemble(group: Group, servers: Sequence[Server]) -> Evidence:
    """Every declared server serves, one of them leads."""
    leading = [one.address for one in servers if one.mode in {"leader", "standalone"}]
    silent = [one.address for one in servers if one.mode is None]
    problems = [f"{address} does not serve" for address in silent]
    if len(leading) != 1:
        problems.append(f"{len(leading)} of them lead")
    numbers = {one.address: one.mode for one in servers}
    said = f"{len(servers)} servers of {group.color}, led by {', '.join(leading) or 'none'}"
    return evidence(f"{group.color} ensemble", problems, said, numbers, "srvr")


def voters(group: Group, seen: Collection[int]) -> Evidence:
    """Those servers vote that are declared to, and no others."""
    problems = [
        f"server {number} has no vote: it gets one when it holds what was written, look at its log "
        "and at the caretaker's"
        for number in sorted(group.voting.difference(seen))
    ]
    problems += [
        f"server {number} votes, and is not declared to: take its vote, or declare it"
        for number in sorted(frozenset(seen) - group.voting)
    ]
    said = f"servers {', '.join(map(str, sorted(seen)))} of {group.color} vote"
    numbers = {"declared": sorted(group.voting), "seen": sorted(seen)}
    return evidence(f"{group.color} voters", problems, said, numbers, CONFIGURATION_PATH)


def masters(group: Group, metrics: Mapping[str, Mapping[str, float]]) -> Evidence:
    """Every declared master's replica serves, in a group of that size, and one of them leads."""
    size = len(group.masters)
    problems = [f"{m} does not answer" for m in group.masters if not metrics.get(m)]
    told = {master: found for master, found in metrics.items() if found}
    for master, found in told.items():
        if found.get(_RECOVERED) != 1:
            problems.append(f"{master}: its replica of the registry does not serve")
        if found.get(_ENSEMBLE_SIZE, size) != size:
            seen = int(found[_ENSEMBLE_SIZE])
            problems.append(f"{master} sees {seen} replicas, {size} are declared")
    elected = [master for master, found in told.items() if found.get(_ELECTED) == 1]
    wanted = 1 if group.leads else 0
    if len(elected) != wanted:
        problems.append(f"{len(elected)} lead, {wanted} should")
    said = f"{size} masters of {group.color}, led by {', '.join(elected) or 'none of them'}"
    numbers = {"declared": size, "elected": elected}
    return evidence(f"{group.color} masters", problems, said, numbers, "/metrics/snapshot")


def master_flags(
    group: Group, flags: Mapping[str, Flags], *, bootstrapped: bool, quorum_of: int | None = None
) -> Evidence:
    """Masters run with the quorum that their number asks for, let nobody in without a name, and
    begin no new registry where there was one. `quorum_of` is declared while their number changes.
    """
    wanted = {
        "quorum": str((quorum_of or len(group.masters)) // 2 + 1),
        "authenticate_http_frameworks": "true",
        "log_auto_initialize": "false" if bootstrapped else "true",
    }
    return _flags(f"{group.color} masters' flags", flags, wanted, group.masters)


def agent_flags(declared: Declared, group: Group, told: Mapping[str, Flags | None]) -> Evidence:
    """Agents run with the flags of their pool's profile. `told` has every agent of the group, None
    where it does not tell."""
    name = f"{group.color} agents' flags"
    if not told:
        return evidence(name, [_none_of(group)], "", {"told": 0}, "/flags")
    flags = {address: found for address, found in told.items() if found is not None}
    profiles = [profile.flags for profile in declared.profiles]
    if len(profiles) == 1:
        return _flags(name, flags, profiles[0], tuple(told))
    problems = [f"{address} does not tell its flags" for address in told if address not in flags]
    problems += [
        f"{address} runs with flags of no declared pool"
        for address, found in flags.items()
        if not any(all(found.get(k) == v for k, v in wanted.items()) for wanted in profiles)
    ]
    said = f"{len(flags)} with flags of one of {len(profiles)} pools"
    return evidence(name, problems, said, {"told": len(flags)}, "/flags")


def _none_of(group: Group) -> str:
    wanted = group.agents.describe() if group.agents else "none"
    return f"no agent of {group.color} is registered; declared: {wanted}"


def networks(wanted: frozenset[str], flags: Mapping[str, Flags | None]) -> Evidence:
    """Every registered agent was started with the networks that are declared."""
    problems: list[str] = []
    for address, found in flags.items():
        if found is None:
            problems.append(f"{address} does not tell its flags")
            continue
        held = known(found)
        if lacking := sorted(wanted - held):
            problems.append(
                f"{address} knows no {', '.join(lacking)}: it was started before they were "
                "declared, replace it"
            )
        if more := sorted(held - wanted):
            problems.append(f"{address} knows {', '.join(more)}, which nobody declares: replace it")
    said = f"{len(flags)} agents know {', '.join(sorted(wanted))}"
    numbers = {address: sorted(known(found or {})) for address, found in flags.items()}
    return evidence("networks", problems, said, numbers, "/flags")


def _flags(
    name: str, flags: Mapping[str, Flags], wanted: Flags, addresses: Sequence[str]
) -> Evidence:
    problems = [
        f"{address} does not tell its flags" for address in addresses if address not in flags
    ]
    problems += [
        f"{address}: {flag} is {found.get(flag, 'not set')}, declared is {value}"
        for address, found in flags.items()
        for flag, value in wanted.items()
        if found.get(flag) != value
    ]
    said = f"{len(flags)} with {', '.join(f'{k}={v}' for k, v in wanted.items()) or 'any flags'}"
    return evidence(name, problems, said, {"told": len(flags)}, "/flags")


def agents(declared: Declared, group: Group, known: Agents) -> Evidence:
    """Every declared agent is registered and active, with the resources that are declared."""
    assert group.agents is not None
    own = group.agents.own(known.registered)
    others = (one.agents for one in declared.groups if one.color is not group.color)
    beside = [agent for other in others if other for agent in other.own(known.registered)]
    problems = [] if own else [_none_of(group)]
    problems += group.agents.lacking(known, beside)
    for agent in own:
        address = agent.address
        if not agent.active:
            problems.append(f"{address} is not active")
        if agent.deactivated and not group.agents_drain:
            problems.append(f"{address} is deactivated: it gets no tasks")
        wanted = [profile.resources for profile in declared.profiles]
        offered = {name: agent.resources.get(name, 0.0) for name in wanted[0]}
        if offered not in wanted:
            said = " or ".join(map(_told, wanted))
            problems.append(f"{address} offers {_told(offered)}, declared is {said}")
    numbers = {"own": len(own), "registered": len(known.registered)}
    said = f"{len(own)} agents of {group.color} are registered as they are declared"
    return evidence(f"{group.color} agents", problems, said, numbers, "GET_AGENTS")


def limits(
    group: Group,
    holds: Mapping[str, bool | None],
    told: Mapping[str, Canary],
    silent: Sequence[str] = (),
) -> Evidence:
    """Where agents say that they hold tasks to their share, a task found that they do. `holds` is
    what the flags of every agent of the group say, None where they do not; `told` is each agent's
    last canary, as far as frameworks answer, `silent` those that do not. Only a task can tell;
    where none has, nobody looked."""
    problems: list[str] = []
    within: list[str] = []
    unseen = {} if holds else {f"the tier of {group.color}": _none_of(group)}
    for address, holding in holds.items():
        canary = told.get(address)
        if holding is False:
            continue
        if (why := _why_unseen(canary, tells=holding is not None, silent=silent)) is not None:
            unseen[address] = why
        elif canary and canary.ok:
            within.append(address)
        elif canary:
            problems.append(
                f"{canary.task_id} was not within its limits on {address}: its stderr says which, "
                "see whether the agent may make control groups"
            )
    said = f"{len(within)} of {len(holds)} {group.color} agents held a canary to its share"
    for framework in silent:
        said += f"; {framework} does not answer"
    for address, why in list(unseen.items())[:_TOLD_MAX]:
        said += f"; {address} was not looked at, {why}"
    if unseen:
        said += "; canaries run on the way from phase 3 to 4, and when a framework is asked for one"
    numbers = {
        address: {"task": one.task_id, "within": one.ok if one.limited else None, "at": one.at}
        for address, one in told.items()
    }
    found = evidence(f"{group.color} limits", problems, said, numbers, "frameworks' /state")
    return replace(found, looked=bool(problems) or not unseen)


def _why_unseen(canary: Canary | None, *, tells: bool, silent: Sequence[str]) -> str | None:
    """Why an agent was not looked at; None: it was. `tells`: it tells its flags."""
    if not tells:
        return "it does not tell its flags"
    if canary is None:
        return f"no canary {'is known' if silent else 'has run'} there"
    return canary.why_untold


def quota(declared: Declared, held: Sequence[Quota], consumed: Mapping[str, Resources]) -> Evidence:
    """Roles have the limits that are declared, and use no more."""
    limits = {one.role: one.limits for one in held if one.limits}
    problems: list[str] = []
    for role, wanted in (declared.quota or {}).items():
        if limits.get(role) != wanted:
            problems.append(
                f"{role} may have {_told(limits.get(role))}, declared is {_told(wanted)}"
            )
    if declared.quota is not None:
        problems += [
            f"{role} has a limit that nobody declares"
            for role in limits.keys() - declared.quota.keys()
        ]
    problems += [
        f"{role} uses {name} {consumed[role].get(name, 0):g} of {most:g}"
        for role, found in limits.items()
        for name, most in found.items()
        if role in consumed and consumed[role].get(name, 0.0) > most
    ]
    said = f"{len(limits)} roles with limits, none above its own"
    if declared.quota is None:
        said += "; the stack declares none"
    return evidence(
        "quota", problems, said, {"limits": {k: dict(v) for k, v in limits.items()}}, "GET_QUOTA"
    )


def _told(resources: Resources | None) -> str:
    return ", ".join(f"{k} {v:g}" for k, v in sorted((resources or {}).items())) or "everything"


def anonymous(statuses: Mapping[str, int | None]) -> Evidence:
    """Whoever says no name is refused, everywhere."""
    problems = [
        f"{address} does not answer"
        if status is None
        else f"{address} let a stranger in ({status})"
        for address, status in statuses.items()
        if status not in _REFUSALS
    ]
    said = f"{len(statuses)} interfaces refuse a stranger"
    return evidence("strangers", problems, said, dict(statuses), "without a credential")


def names(
    name: str,
    answers: Mapping[str, Sequence[str] | None],
    addresses: Collection[str],
    check: str = "names",
) -> Evidence:
    """Every server of the zone answers to a name with some of its addresses, and with no other. A
    server need not tell all of them: an answer has room for few."""
    problems = [
        f"{server} does not answer"
        if found is None
        else f"{server} says that {name} is {', '.join(found) or 'nothing'}"
        for server, found in answers.items()
        if not found or not set(found) <= set(addresses)
    ]
    said = f"{len(answers)} servers say that {name} is {', '.join(sorted(addresses))}"
    numbers = {server: list(found or ()) for server, found in answers.items()}
    return evidence(check, problems, said, numbers, "DNS")


def no_app_names() -> Evidence:
    """No app has an instance that is well: there is no name to ask for."""
    return evidence(APP_NAMES, (), "no app has an instance that takes requests", {}, "Marathon")


def silent(name: str, error: Exception, told_by: str) -> Evidence:
    """A check that could not be made: nobody says that it holds."""
    said = f"could not be asked: {error}"
    return Evidence(name, ok=False, said=said, told_by=told_by)


def evidence(
    name: str, problems: Sequence[str], said: str, numbers: Mapping[str, object], told_by: str
) -> Evidence:
    """A finding that holds where there are no problems; of many, the first ones are said."""
    if problems:
        more = len(problems) - _TOLD_MAX
        said = "; ".join(problems[:_TOLD_MAX]) + (f"; {more} more" if more > 0 else "")
    return Evidence(name, ok=not problems, said=said, numbers=dict(numbers), told_by=told_by)
