"""A stack, its clusters and its engine as plain values, which refuse whatever real ones would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stacks.errors import GateRefusedError
from stacks.migration.errors import ActFailedError
from stacks.migration.evidence import Evidence, Findings
from stacks.migration.executor import Situation
from stacks.migration.phases import Step, StepKind
from stacks.migration.updates import Tell
from stacks.moves import check_move
from stacks.steps import Op, PreviewResult, UpResult
from stacks.steps import Step as StackStep
from stacks.topology import (
    Color,
    Placement,
    Position,
    Standing,
    Tier,
    Topology,
    TopologyError,
)

TIERS = (Tier.ZOOKEEPER, Tier.MASTERS, Tier.AGENTS)


def do_nothing(_: int) -> None:
    """In place of fsync: thousands of walks need no durable journal."""


class KilledError(BaseException):
    """The runner's process ends here."""


def resources_at(standing: Standing) -> dict[str, str]:
    """Names of resources, with what distinguishes one declaration from another."""
    topology = Topology.at(standing)
    found = {
        f"{color}-{tier}-{index}": "up"
        for color in Color
        for tier in TIERS
        if topology.tier(color, tier).exists
        for index in range(2)
    }
    if topology.engine.exists:
        found["sync-engine-0"] = "up"
    for framework in ("sample", "marathon"):
        found[f"frameworks-{framework}-0"] = str(topology.framework_color)
    # An app belongs to the cluster: wherever Marathon runs, it is declared the same.
    found["apps-web"] = "declared"
    for group in standing.groups:
        found[f"clients-{group}-0"] = str(topology.group_color(group))
    return found


@dataclass
class FakeStack:
    """Keeps the gate's rules; `during_up` may end the process in the middle of an update."""

    standing: Standing
    config: Standing = field(init=False)
    resources: dict[str, str] = field(init=False)
    permits: list[str] = field(default_factory=list[str])
    permit: str | None = None
    updates: int = 0
    during_up: Callable[[str], None] = lambda _: None
    extra: tuple[StackStep, ...] = ()
    on_preview: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.config = self.standing
        self.resources = resources_at(self.standing)

    def actual(self) -> Standing | None:
        return self.standing

    def desired(self) -> Standing:
        return self.config

    def set_migration(
        self,
        standing: Standing,
        *,
        permit: str | None = None,
        epochs: Mapping[Color, int] | None = None,
    ) -> None:
        del epochs
        self.config, self.permit = standing, permit

    def state_digest(self) -> str:
        return f"{self.standing}{sorted(self.resources.items())}{self.updates}"

    def preview(self, plan_file: Path | None = None) -> PreviewResult:
        self._gate()
        wanted = resources_at(self.config)
        steps = [
            *(_step(Op.CREATE, name) for name in wanted.keys() - self.resources.keys()),
            *(_step(Op.DELETE, name) for name in self.resources.keys() - wanted.keys()),
            *(
                _step(Op.UPDATE, name)
                for name in wanted.keys() & self.resources.keys()
                if wanted[name] != self.resources[name]
            ),
            *self.extra,
        ]
        if self.config != self.standing:
            steps.append(_step(Op.UPDATE, "gate"))
        if plan_file is not None:
            plan_file.write_text("{}")
        self.on_preview()
        return PreviewResult(tuple(steps), plan_file)

    def up(self, plan_file: Path | None = None) -> UpResult:
        del plan_file
        move = self._gate()
        if move and self.permit:
            self.permits.append(self.permit)
        self.updates += 1
        self.during_up("begin")
        self.standing = self.config
        self.during_up("gate")
        wanted = resources_at(self.config)
        self.resources |= wanted
        self.during_up("made")
        self.resources = wanted
        self.during_up("end")
        return UpResult({}, {})

    def clear_interrupted(self) -> bool:
        return False

    def _gate(self) -> bool:
        try:
            move = check_move(self.standing, self.config)
        except TopologyError as error:
            raise GateRefusedError(str(error)) from None
        if move is not None and move.removes:
            fresh = self.permit is not None and self.permit not in self.permits
            if not fresh or not str(self.permit).startswith(f"{move.name}:"):
                raise GateRefusedError(f"no permit for {move.name}")
        return move is not None


def _step(op: Op, name: str) -> StackStep:
    return StackStep(op, f"urn::{name}", "test:Type", name)


@dataclass
class FakeWork:
    """What acts change, and what must hold before they may."""

    stack: FakeStack
    model: dict[str, str] = field(default_factory=lambda: dict(AT_START))
    log: list[str] = field(default_factory=list[str])
    failing: set[str] = field(default_factory=set[str])
    within: Callable[[Step, str], None] = lambda _step, _when: None
    pause_s: float | None = None

    async def perform(self, step: Step, situation: Situation, tell: Tell) -> Findings:
        self.log.append(f"{situation.transition.name}: {step.name}")
        tell("at work")
        self.within(step, "begin")
        if self.pause_s is not None:
            await asyncio.sleep(self.pause_s)
        if step.name in self.failing:
            return Findings((Evidence(step.name, ok=False, said="it was told to fail"),))
        if step.kind is StepKind.ACT:
            self._act(step.name, situation)
        if step.kind is StepKind.PROOF:
            self._prove(situation)
        self.within(step, "end")
        return Findings((Evidence(step.name, ok=True, said="holds", numbers={"n": 1}),))

    def _need(self, what: bool, why: str) -> None:
        if not what:
            raise ActFailedError(why)

    def _act(self, name: str, situation: Situation) -> None:
        self._check_places(name, situation)
        for key, values in NEEDS.get(name, {}).items():
            self._need(self.model[key] in values, f"{name}: {key} is {self.model[key]}")
        if name.startswith("flip group subtrees"):
            group = str(situation.transition.group)
            there = "source" if name.endswith("back") else "target"
            stands = self.stack.resources[f"clients-{group}-0"] == "None"
            self._need(stands or self.model[group] == there, "the group writes")
            self.model[group] = there
        if name == "project leader" and self.model["projection"] == "persistent":
            return
        self.model |= SETS.get(name, {})

    def _check_places(self, name: str, situation: Situation) -> None:
        """What acts need of the resources."""
        standing = situation.standing
        runs_on = self.stack.resources["frameworks-sample-0"]
        match name:
            case "choose target epoch":
                there = f"{standing.target}-zookeeper-0" in self.stack.resources
                self._need(not there or self.model["epoch"] == "chosen", "too late")
            case "flip framework subtrees" | "flip framework subtrees back":
                owner = "source" if name.endswith("back") else "target"
                self._need(runs_on == "None" or self.model["owner"] == owner, "frameworks write")
            case "raise election numbers":
                stands = runs_on == "None" or self.model["projection"] != "off"
                self._need(stands, "frameworks would end with the old leader")
            case "await source masters" | "drop projection":
                masters = f"{standing.source}-masters-1"
                self._need(masters in self.stack.resources, "no masters of the source")
            case "await frameworks on target":
                self._need(runs_on == standing.target, f"frameworks on {runs_on}")
            case "await frameworks on source":
                self._need(runs_on == standing.source, f"frameworks on {runs_on}")
            case _:
                pass

    def _prove(self, situation: Situation) -> None:
        standing = situation.standing
        self._need(self.stack.resources == resources_at(standing), "resources differ")
        for group, placement in standing.groups.items():
            if placement is not Placement.STOPPED:
                self._need(self.model[group] == placement, f"{group} is owned elsewhere")
        expected = expected_at(standing.position)
        if standing.position.phase <= 3:
            self._need(self.model["inactive"] != "source", "source agents take no tasks")
        wrong = {k: self.model[k] for k, v in expected.items() if self.model[k] != v}
        self._need(not wrong, f"expected {expected}, saw {wrong}")


SHOWN = {"ephemeral", "persistent"}
NEEDS: dict[str, dict[str, set[str]]] = {
    "project leader": {"owner": {"target"}},
    "await agents on target": {"projection": SHOWN},
    "persist projection": {"projection": SHOWN},
    "keep election path fenced": {"projection": {"persistent"}},
    "await source masters": {"fence": {"off"}},
    "await agents on source": {"agents": {"source"}},
    "canary": {"inactive": {"none", "source"}},
}
SETS: dict[str, dict[str, str]] = {
    "choose target epoch": {"epoch": "chosen"},
    "replay registry": {"registry on target": "replayed"},
    "last replay": {"registry on target": "replayed"},
    "flip framework subtrees": {"owner": "target"},
    "flip framework subtrees back": {"owner": "source"},
    "project leader": {"projection": "ephemeral"},
    "await agents on target": {"agents": "target", "registry on target": "led"},
    "persist projection": {"projection": "persistent"},
    "fence election path": {"fence": "on"},
    "keep election path fenced": {"fence": "on"},
    "lift fence": {"fence": "off"},
    "drop projection": {"projection": "off", "agents": "source"},
    "reset target masters": {"registry on target": "replayed"},
    "deactivate source agents": {"inactive": "source"},
    "deactivate target agents": {"inactive": "target"},
    "reactivate source agents": {"inactive": "none"},
    "reactivate target agents": {"inactive": "none"},
    "move tasks to target": {"tasks": "target"},
    "move tasks to source": {"tasks": "source"},
}
AT_START = {
    "epoch": "none",
    "registry on target": "none",
    "owner": "source",
    "projection": "off",
    "fence": "off",
    "agents": "source",
    "tasks": "source",
    "inactive": "none",
    "batch": "source",
    "traffic": "source",
}


def expected_at(position: Position) -> dict[str, str]:
    """What must hold at a phase, whichever way led there."""
    there = position.phase >= 3
    found = {
        "owner": "target" if there else "source",
        "projection": "persistent" if there else "off",
        "fence": "on" if there else "off",
        "agents": "target" if there else "source",
    }
    if position.phase >= 5:
        found["tasks"] = "target"
    if position.phase <= 2:
        found["tasks"] = "source"
    if position.phase == 2:
        found["registry on target"] = "replayed"
    return found
