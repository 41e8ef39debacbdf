"""The gate: the one resource on which all others of a stack depend.

It holds where the stack stands, and its `check` decides whether an update may take it from there to
where the configuration points. Pulumi calls `check` in previews and in updates alike, before
anything else is looked at, so that no way of running Pulumi gets around it: a jump, or a move that
removes something without the executor's permit, changes nothing.

A permit is `<from>><to>:<unix time>:<64 hex digits>`, written into the configuration by the
executor when its guards have passed; it opens one move, once, until that time. Spent permits are
kept here.

The rules themselves are stacks.moves'; this module only carries them to Pulumi.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import pulumi
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    ResourceProvider,
    UpdateResult,
)
from pulumi.dynamic import Resource as DynamicResource

from components import zookeeper
from components.errors import ArgumentsError
from components.mesos import agents, masters
from components.mesos.masters import GroupSize
from components.zookeeper import EnsembleSize
from stacks.moves import Move, check_first, check_move
from stacks.topology import (
    Color,
    Placement,
    Position,
    Standing,
    TopologyError,
)

GATE_NAME = "gate"
PERMIT_PATTERN = re.compile(r"(?P<move>[^:]+):(?P<until>[0-9]{10}):(?P<nonce>[0-9a-f]{64})")
# A permit names its move, so older ones are of use only for the same edge walked again; far fewer
# than this many removals happen between two spent ones that somebody could confuse.
_SPENT_MAX = 64
_SIZES = ("zookeeper", "voters", "masters", "quorum", "agents")
_KEPT = ("source", "target", "position", "groups", *_SIZES)
# Starts the message, so that a refusal is told from other failures of a check.
REFUSED = "the gate refuses this update:"


class GateProvider(ResourceProvider):
    """Compare where the stack stands with where the configuration points."""

    serialize_as_secret_always = False

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse what no migration does, before anything else changes."""
        spent = [str(permit) for permit in _olds.get("spent_permits") or ()]
        permit = str(news.get("permit") or "")
        inputs = {key: news[key] for key in _KEPT}
        try:
            _check_sizes(_olds, news)
            new = standing_from(news)
            old = standing_from(_olds) if _olds.get("position") else None
            move = _decide(old, new)
            if move is not None and move.removes:
                _check_permit(move, permit, spent)
                spent = [*spent, permit][-_SPENT_MAX:]
        except (TopologyError, ArgumentsError) as error:
            return CheckResult(news, [CheckFailure("position", f"{REFUSED} {error}")])
        # A permit is no part of where a stack stands: it is kept only once it is spent.
        return CheckResult({**inputs, "spent_permits": spent}, [])

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """The gate moves when any of its inputs does."""
        keys = (*_KEPT, "spent_permits")
        return DiffResult(changes=any(_olds.get(key) != _news.get(key) for key in keys))

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Remember where the stack begins."""
        return CreateResult(GATE_NAME, dict(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Remember where the stack stands now."""
        return UpdateResult(dict(_news))


class Sizes(NamedTuple):
    """How many members the tiers of each colour have, how many servers are to vote (0: all, and
    nobody sees to it), and how many masters store a change. No `agents`: nodes have them, and no
    update takes any of them away."""

    zookeeper: int
    voters: int
    masters: int
    quorum: int
    agents: int


class Gate(DynamicResource, module="mesosplatform", name="Gate"):
    """Where the stack stands, and the only way to another place."""

    def __init__(self, standing: Standing, permit: str | None, sizes: Sizes) -> None:
        properties = {
            **standing_properties(standing),
            "permit": permit or "",
            **sizes._asdict(),
        }
        super().__init__(GateProvider(), GATE_NAME, properties, pulumi.ResourceOptions())


def standing_properties(standing: Standing) -> dict[str, Any]:
    """A standing as plain values."""
    return {
        "source": str(standing.source),
        "target": str(standing.target),
        "position": str(standing.position),
        "groups": {name: str(placement) for name, placement in standing.groups.items()},
    }


def standing_from(properties: Mapping[str, Any]) -> Standing:
    """Read what `standing_properties` wrote.

    Raises:
        TopologyError: the values are no standing.
    """
    groups: Mapping[str, Any] = properties.get("groups") or {}
    try:
        return Standing(
            source=Color(str(properties["source"])),
            target=Color(str(properties["target"])),
            position=Position.parse(str(properties["position"])),
            groups={name: Placement(str(placement)) for name, placement in groups.items()},
        )
    except KeyError as error:
        msg = f"expected the gate to hold {error}, saw none: its state was written by hand"
        raise TopologyError(msg) from error


def _decide(old: Standing | None, new: Standing) -> Move | None:
    if old is None:
        check_first(new)
        return None
    return check_move(old, new)


def _check_sizes(olds: Mapping[str, Any], news: Mapping[str, Any]) -> None:
    # Numbers come back from the engine as floats, and states of before know fewer of them.
    if "zookeeper" in olds:
        zookeeper.check_resize(_ensemble(olds), _ensemble(news))
    if "agents" in olds and int(news["agents"]):
        agents.check_resize(int(olds["agents"]), int(news["agents"]))
    if "masters" in olds:
        masters.check_resize(_group(olds), _group(news))


def _ensemble(values: Mapping[str, Any]) -> EnsembleSize:
    return EnsembleSize(int(values["zookeeper"]), int(values.get("voters") or 0) or None)


def _group(values: Mapping[str, Any]) -> GroupSize:
    replicas = int(values["masters"])
    return GroupSize(replicas, int(values.get("quorum") or replicas // 2 + 1))


def _check_permit(move: Move, permit: str, spent: list[str]) -> None:
    fields = PERMIT_PATTERN.fullmatch(permit)
    is_fresh = fields is not None and time.time() <= int(fields["until"])
    if fields and fields["move"] == move.name and is_fresh and permit not in spent:
        return
    if not permit:
        seen = "no permit"
    elif fields is None:
        seen = "a permit of another form"
    elif fields["move"] != move.name:
        seen = f"a permit for {fields['move']}"
    elif permit in spent:
        seen = "a permit that has been used"
    else:
        seen = "a permit that has run out"
    msg = (
        f"the move from {move.old.position} to {move.new.position} removes a tier, so it needs a "
        f"permit '{move.name}:<time>:<64 hex digits>' that only a migration writes when its guards "
        f"have passed; saw {seen}. Run `migrate start`, `migrate resume` or `migrate rollback`"
    )
    raise TopologyError(msg)
