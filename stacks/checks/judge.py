"""What is seen of a cluster, compared with what is declared. Pure: every judgement is evidence with
its numbers, and says what to do where it does not hold.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from clients.mesos.model import Quota
from clients.zookeeper.ensemble import CONFIGURATION_PATH
from stacks.checks.declared import Declared, Group, Resources
from stacks.migration.evidence import Evidence

Flags = Mapping[str, str]
APP_NAMES = "names of apps"
TOLD_MAX = 4
_RECOVERED = "registrar/log/recovered"
_ENSEMBLE_SIZE = "registrar/log/ensemble_size"
_ELECTED = "master/elected"
_REFUSALS = frozenset({401, 403})


@dataclass(frozen=True)
class Server:
    """A server of an ensemble: its mode, None where it does not answer."""

    address: str
    mode: str | None


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
    return compare_flags(f"{group.color} masters' flags", flags, wanted, group.masters)


def compare_flags(
    name: str, flags: Mapping[str, Flags], wanted: Flags, addresses: Sequence[str]
) -> Evidence:
    """Everybody at these addresses tells flags, and among them the wanted ones."""
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


def quota(declared: Declared, held: Sequence[Quota], consumed: Mapping[str, Resources]) -> Evidence:
    """Roles have the limits that are declared, and use no more."""
    limits = {one.role: one.limits for one in held if one.limits}
    problems: list[str] = []
    for role, wanted in (declared.quota or {}).items():
        if limits.get(role) != wanted:
            problems.append(
                f"{role} may have {describe(limits.get(role))}, declared is {describe(wanted)}"
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


def describe(resources: Resources | None) -> str:
    """For people."""
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
        more = len(problems) - TOLD_MAX
        said = "; ".join(problems[:TOLD_MAX]) + (f"; {more} more" if more > 0 else "")
    return Evidence(name, ok=not problems, said=said, numbers=dict(numbers), told_by=told_by)
