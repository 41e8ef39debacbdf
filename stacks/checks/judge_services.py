"""What stands beside a cluster, compared with what is declared. Pure.

`judge` has masters, agents, ensembles and what all of them must agree on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from stacks.checks.declared import EdgeGroup
from stacks.checks.judge import evidence
from stacks.migration.evidence import Evidence
from sync_engine.client import EngineStatus

# Of Mesos, which has no delete for it.
_DEFAULT_WEIGHT = 1.0
_DOWN = re.compile(r'^mesos_up\{[^}]*target="([^"]*)"[^}]*\} 0(?:\.0)?$', re.MULTILINE)


def weights(declared: Mapping[str, float] | None, held: Mapping[str, float]) -> Evidence:
    """Roles have the weights that are declared; `declared` is None where nobody declares roles."""
    wanted = declared or {}
    problems = [
        f"{role} weighs {held.get(role, _DEFAULT_WEIGHT):g}, declared is {weight:g}"
        for role, weight in wanted.items()
        if held.get(role, _DEFAULT_WEIGHT) != weight
    ]
    if declared is not None:
        problems += [
            f"{role} weighs {weight:g}, which nobody declares"
            for role, weight in held.items()
            if role not in wanted and weight != _DEFAULT_WEIGHT
        ]
    said = f"{len(held)} roles with a weight"
    if declared is None:
        said += "; the stack declares none"
    return evidence("weights", problems, said, {"weights": dict(held)}, "GET_WEIGHTS")


def marathon(leaders: Mapping[str, str | None]) -> Evidence:
    """Every instance answers, and all of them name one of them as the leader; `leaders` has what
    each of them names."""
    problems = [f"{one} names no leader" for one, leader in leaders.items() if leader is None]
    named = {leader for leader in leaders.values() if leader is not None}
    problems += [f"{one} leads and is not declared" for one in sorted(named - leaders.keys())]
    if len(named) > 1:
        problems.append(f"instances do not agree: {', '.join(sorted(named))}")
    said = f"{len(leaders)} instances, led by {', '.join(sorted(named))}"
    return evidence("marathon", problems, said, dict(leaders), "/v2/leader")


def engine(status: EngineStatus) -> Evidence:
    """The sync engine follows both sides, and nothing waits for anybody."""
    state = str(status.state)
    problems = (
        [] if status.is_sound else [f"it is {state}: {', '.join(status.reasons) or 'no why'}"]
    )
    if status.held:
        problems.append(f"{status.held} conflicts wait for an operator")
    said = f"it is {state}; {sum(one.znodes for one in status.subtrees.values())} znodes are equal"
    numbers = {"state": state, "reasons": list(status.reasons), "held": status.held}
    return evidence("sync engine", problems, said, numbers, "/status")


def exporters(told: Mapping[str, str | None]) -> Evidence:
    """Each exporter answers, and hears of all that it asks; `told` has the metrics of each."""
    problems: list[str] = []
    for url, text in told.items():
        if text is None:
            problems.append(f"{url} does not answer")
        else:
            problems += [f"{target} does not answer {url}" for target in _DOWN.findall(text)]
    said = f"{len(told)} exporters hear of all that they ask"
    lines = {url: None if text is None else len(text.splitlines()) for url, text in told.items()}
    return evidence("exporters", problems, said, lines, "/metrics")


def edge(
    wanted: EdgeGroup, digest: str, seen: Mapping[str, str | None], *, unknown: int = 0
) -> Evidence:
    """Every replica runs with what apps ask for now. While there are instances of `unknown` health,
    which replicas serve on where they did, one that runs with something else may be right."""
    silent_ones = [f"{address} does not answer" for address, one in seen.items() if one is None]
    others = [
        f"{address} runs with {one}" for address, one in seen.items() if one not in {None, digest}
    ]
    numbers = {"wanted": digest, **seen}
    said = f"{len(seen)} replicas of {wanted.group} run with {digest}"
    told_by = "/configuration-digest"
    if others and unknown and not silent_ones:
        said = f"Marathon has not heard yet how {unknown} instances are: {'; '.join(others)}"
        return Evidence("edge", ok=True, said=said, numbers=numbers, told_by=told_by, looked=False)
    problems = silent_ones + others + ([f"apps ask for {digest}"] if silent_ones or others else [])
    return evidence("edge", problems, said, numbers, told_by)
