"""Agents as masters know them and as they tell of themselves, compared with what is declared. Pure.

`judge` has what all judgements share, and who leads the agents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from clients.mesos.model import Agent, Agents
from components.network.cni import known
from stacks.checks import pools
from stacks.checks.declared import Declared, Group, Profile
from stacks.checks.judge import TOLD_MAX, Flags, compare_flags, describe, evidence
from stacks.migration.evidence import Evidence

_GOING_ON = frozenset(
    {"TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_UNREACHABLE"}
)


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


def agent_flags(
    declared: Declared,
    group: Group,
    told: Mapping[str, Flags | None],
    known: Mapping[str, Agent],
) -> Evidence:
    """Agents run with the flags of their pool's profile, and each pool has its number of them.
    `told` has every agent of the group, None where it does not tell; `known` are those of whom
    masters know what they offer, by address, and need have none where there is one pool."""
    name = f"{group.color} agents' flags"
    if not told:
        return evidence(name, [_none_of(group)], "", {"told": 0}, "/flags")
    flags = {address: found for address, found in told.items() if found is not None}
    profiles = declared.profiles
    if len(profiles) == 1:
        return compare_flags(name, flags, profiles[0].flags, tuple(told))
    found = {a: pools.fitting(profiles, one, known.get(a)) for a, one in flags.items()}
    problems = [f"{address} does not tell its flags" for address in told if address not in flags]
    problems += [
        f"{address} runs with flags of no declared pool, or offers other resources than it"
        for address, fitting in found.items()
        if not fitting
    ]
    filled = pools.fill(profiles, found.values())
    problems += [
        f"{there} of {profile.count} agents {_of_pool(profile)} run with its flags and offer its "
        "resources"
        for profile, there in zip(profiles, filled, strict=True)
        if there < profile.count
    ]
    said = f"{len(flags)} with flags and resources of one of {len(profiles)} pools"
    there = {_of_pool(p): n for p, n in zip(profiles, filled, strict=True)}
    numbers = {"told": len(flags), "pools": there}
    return evidence(name, problems, said, numbers, "/flags, GET_AGENTS")


def _of_pool(profile: Profile) -> str:
    return f"of pool {profile.pool}" if profile.pool else "of the one pool"


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
        if not any(pools.offers(agent, profile) for profile in declared.profiles):
            wanted = [profile.resources for profile in declared.profiles]
            offered = {name: agent.resources.get(name, 0.0) for name in wanted[0]}
            said = " or ".join(map(describe, wanted))
            problems.append(f"{address} offers {describe(offered)}, declared is {said}")
    numbers = {"own": len(own), "registered": len(known.registered)}
    said = f"{len(own)} agents of {group.color} are registered as they are declared"
    return evidence(f"{group.color} agents", problems, said, numbers, "GET_AGENTS")


def limits(
    group: Group,
    holds: Mapping[str, bool | None],
    told: Mapping[str, Canary],
    silent: Sequence[str] = (),
    *,
    least: int,
) -> Evidence:
    """Where agents say that they hold tasks to their share, a task found that they do. `holds` is
    what the flags of every agent of the group say, None where they do not; `told` is each agent's
    last canary, as far as frameworks answer, `silent` those that do not. Only a task can tell;
    where none has, nobody looked. At least so many agents are declared to hold tasks."""
    problems: list[str] = []
    within: list[str] = []
    holding_none = [address for address, holding in holds.items() if holding is False]
    if holds and (saying := len(holds) - len(holding_none)) < least:
        problems.append(
            f"{saying} of {len(holds)} {group.color} agents say that they hold tasks to their "
            f"share, {least} are declared to: {', '.join(holding_none[:TOLD_MAX])} say otherwise, "
            "see their flags"
        )
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
    for address, why in list(unseen.items())[:TOLD_MAX]:
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
