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
    found["frameworks-sample-0"] = str(topology.framework_color)
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
        model, standing = self.model, situation.standing
        frameworks = self.stack.resources["frameworks-sample-0"]
        stopped = frameworks == "None"
        source_masters = f"{standing.source}-masters-1" in self.stack.resources
        match name:
            case "choose target epoch":
                self._need(
                    f"{standing.target}-zookeeper-0" not in self.stack.resources
                    or model["epoch"] == "chosen",
                    "too late",
                )
                model["epoch"] = "chosen"
            case "replay registry":
                model["registry on target"] = "replayed"
            case "last replay":
                model["registry on target"] = "replayed"
            case "flip framework subtrees":
                self._need(stopped or model["owner"] == "target", "frameworks write")
                model["owner"] = "target"
            case "flip framework subtrees back":
                self._need(stopped or model["owner"] == "source", "frameworks write")
                model["owner"] = "source"
            case "project leader":
                self._need(model["owner"] == "target", "not flipped")
                if model["projection"] == "off":
                    model["projection"] = "ephemeral"
            case "await agents on target":
                self._need(model["projection"] != "off", "agents do not follow")
                model["agents"] = "target"
                model["registry on target"] = "led"
            case "persist projection":
                self._need(model["projection"] != "off", "nothing to persist")
                model["projection"] = "persistent"
            case "fence election path":
                model["fence"] = "on"
            case "keep election path fenced":
                self._need(model["projection"] == "persistent", "projection lost")
                model["fence"] = "on"
            case "lift fence":
                model["fence"] = "off"
            case "await source masters":
                self._need(source_masters, "no masters of the source")
                self._need(model["fence"] == "off", "masters cannot enter")
            case "drop projection":
                self._need(source_masters, "nobody would lead")
                model["projection"] = "off"
                model["agents"] = "source"
            case "await agents on source":
                self._need(model["agents"] == "source", "agents elsewhere")
            case "await frameworks on target":
                self._need(frameworks == standing.target, f"frameworks on {frameworks}")
            case "await frameworks on source":
                self._need(frameworks == standing.source, f"frameworks on {frameworks}")
            case "reset target masters":
                model["registry on target"] = "replayed"
            case "deactivate source agents":
                model["inactive"] = "source"
            case "reactivate source agents" | "reactivate target agents":
                model["inactive"] = "none"
            case "deactivate target agents":
                model["inactive"] = "target"
            case "move tasks to target":
                model["tasks"] = "target"
            case "move tasks to source":
                model["tasks"] = "source"
            case "flip group subtrees" | "flip group subtrees back":
                group = str(situation.transition.group)
                there = "target" if name.endswith("subtrees") else "source"
                stands = self.stack.resources[f"clients-{group}-0"] == "None"
                self._need(stands or model[group] == there, "the group writes")
                model[group] = there
            case "canary":
                self._need(model["inactive"] != "target", "no offers")
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
