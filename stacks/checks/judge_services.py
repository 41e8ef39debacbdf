"""What stands beside a cluster, compared with what is declared. Pure.

`judge` has masters, agents, ensembles and what all of them must agree on.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from stacks.checks.declared import EdgeGroup, WantedEngine
from stacks.checks.judge import evidence
from stacks.migration.evidence import Evidence
from sync_engine.client import EngineStatus, ProjectionKind, ProjectionStatus

# Of Mesos, which has no delete for it.
_DEFAULT_WEIGHT = 1.0
_UP = re.compile(r'^mesos_up\{[^}]*target="([^"]*)"[^}]*\} ([01](?:\.0)?)$', re.MULTILINE)


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


def engine(status: EngineStatus, wanted: WantedEngine) -> Evidence:
    """The sync engine follows both sides, nothing waits for anybody, and it shows the leader that
    it is to show, or none."""
    state = str(status.state)
    problems = (
        [] if status.is_sound else [f"it is {state}: {', '.join(status.reasons) or 'no why'}"]
    )
    if status.held:
        problems.append(f"{status.held} conflicts wait for an operator")
    if wanted.projection is not None:
        problems += _projection_problems(status.projections, wanted, shows=wanted.projection)
    said = f"it is {state}; {sum(one.znodes for one in status.subtrees.values())} znodes are equal"
    projections = {name: one.model_dump(mode="json") for name, one in status.projections.items()}
    numbers = {
        "state": state,
        "reasons": list(status.reasons),
        "held": status.held,
        "projections": projections,
    }
    return evidence("sync engine", problems, said, numbers, "/status")


def _projection_problems(
    projections: Mapping[str, ProjectionStatus], wanted: WantedEngine, *, shows: bool
) -> list[str]:
    kind = ProjectionKind.PERSISTENT if shows else ProjectionKind.OFF
    problems = [] if projections else ["it knows of no projection: see its rules"]
    for name, one in projections.items():
        if one.kind is not kind:
            problems.append(f"projection {name} is {one.kind}, declared is {kind}")
        if wanted.fence is not None and one.fenced is not wanted.fence:
            is_, should = (("open", "fenced"), ("fenced", "open"))[one.fenced]
            problems.append(f"the election path of {name} is {is_}, declared is {should}")
        if shows and one.leader not in wanted.leaders:
            problems.append(
                f"projection {name} shows {one.leader or 'nobody'}, which is none of "
                f"{', '.join(wanted.leaders) or 'no declared masters'}"
            )
    return problems


def exporters(told: Mapping[str, str | None], wanted: Mapping[str, Collection[str]]) -> Evidence:
    """Each exporter answers with metrics, and hears of all that it asks; `told` has the metrics of
    each, `wanted` who is declared that it has to ask."""
    problems: list[str] = []
    for url, text in told.items():
        if text is None:
            problems.append(f"{url} does not answer")
            continue
        heard = {target: float(value) for target, value in _UP.findall(text)}
        if not heard:
            problems.append(f"{url} tells of nobody: see whether that is an exporter of Mesos")
            continue
        problems += [
            f"{url} does not ask {target}" for target in wanted.get(url, ()) if target not in heard
        ]
        problems += [f"{target} does not answer {url}" for target, up in heard.items() if not up]
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
