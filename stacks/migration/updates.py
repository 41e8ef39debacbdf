"""One update of a transition: point the configuration, preview, check the contract, run that plan.

Blocking, like the engine that it drives: the executor runs it on a thread.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from stacks import steps as stack_steps
from stacks.migration import contracts
from stacks.migration.contracts import Contract, Scope, Side
from stacks.migration.errors import ContractError, PlanError, StateChangedError
from stacks.moves import check_move
from stacks.steps import ENGINE_PART, Op, PreviewResult, UpResult
from stacks.topology import Color, Standing, Tier

_GATE = "gate"
PERMIT_LIFE_S = 900
"""A permit that a killed runner left opens the gate no longer than the evidence behind it is fresh;
a preview and the start of an update take seconds."""
_TIERS_OF_COLOR = frozenset({Tier.ZOOKEEPER, Tier.MASTERS, Tier.AGENTS})
Tell = Callable[[str], None]


class Stack(Protocol):
    """What of a stack's runner an executor needs (see stacks.automation)."""

    def actual(self) -> Standing | None:
        """Where the stack stands by its state."""
        ...

    def desired(self) -> Standing:
        """Where the configuration points."""
        ...

    def set_migration(
        self,
        standing: Standing,
        *,
        permit: str | None = None,
        epochs: Mapping[Color, int] | None = None,
    ) -> None:
        """Write where the stack should stand."""
        ...

    def state_digest(self) -> str:
        """Equal as long as nobody changed the stack's state."""
        ...

    def preview(self, plan_file: Path | None = None) -> PreviewResult:
        """Find out what an update would do."""
        ...

    def up(self, plan_file: Path | None = None) -> UpResult:
        """Update the stack."""
        ...

    def clear_interrupted(self) -> bool:
        """Clear what a killed update left."""
        ...


@dataclass(frozen=True)
class Updated:
    """What an update did."""

    old: Standing
    new: Standing
    changes: tuple[stack_steps.Step, ...]

    def as_numbers(self) -> dict[str, Any]:
        """For the journal."""
        counts: dict[str, int] = {}
        for step in self.changes:
            counts[step.op] = counts.get(step.op, 0) + 1
        return {
            "from": self.old.describe(),
            "to": self.new.describe(),
            "operations": counts,
            "resources": [f"{step.op} {step.name}" for step in self.changes],
        }


def standing_of(stack: Stack) -> Standing:
    """Where the stack stands.

    Raises:
        PlanError: it was never updated.
    """
    standing = stack.actual()
    if standing is None:
        msg = "expected a stack that stands at a phase, saw one that was never updated: `pulumi up`"
        raise PlanError(msg)
    return standing


def update(stack: Stack, new: Standing, plan_file: Path, tell: Tell) -> Updated:
    """Take the stack to a neighbouring standing, or finish an update that leads to where it stands.

    Raises:
        ContractError: the preview wants more than this move may do; nothing was changed.
        StateChangedError: somebody changed the stack between the preview and the update, or the
            update has not brought it where it should be.
        StackError: see stacks.errors.
    """
    old = standing_of(stack)
    move = check_move(old, new)
    permit = None
    if move is not None and move.removes:
        permit = f"{move.name}:{int(time.time()) + PERMIT_LIFE_S}:{secrets.token_hex(32)}"
    stack.set_migration(new, permit=permit)
    try:
        return _update(stack, old, new, plan_file, tell)
    except BaseException:
        # Neither a destination that was not reached nor a permit that was not spent may wait in the
        # configuration for somebody's next `pulumi up`.
        stack.set_migration(standing_of(stack))
        raise


def _update(stack: Stack, old: Standing, new: Standing, plan_file: Path, tell: Tell) -> Updated:
    before = stack.state_digest()
    tell(f"previewing {new.describe()}")
    plan_file.unlink(missing_ok=True)
    preview = stack.preview(plan_file)
    check_contract(preview.changes, contract_between(old, new), new)
    if old == new and not preview.changes:
        return Updated(old, new, ())
    if stack.state_digest() != before:
        msg = (
            "expected the stack to stay as it was previewed, saw another state: somebody else "
            "updated it meanwhile. Find out who, then run `migrate resume`"
        )
        raise StateChangedError(msg)
    tell(f"updating: {_summary(preview.changes)}")
    stack.up(plan_file)
    reached = standing_of(stack)
    if reached != new:
        msg = (
            f"expected the update to end at {new.describe()}, saw {reached.describe()}: the "
            "program read another configuration than was written. Look at the stack's "
            "configuration file, then run `migrate resume`"
        )
        raise StateChangedError(msg)
    return Updated(old, new, preview.changes)


def contract_between(old: Standing, new: Standing) -> Contract:
    """What the update from one standing to another may do."""
    if (old.source, old.target) != (new.source, new.target):
        return contracts.EXCHANGE_CONTRACT
    if old.position != new.position:
        return contracts.contract_of(old.position, new.position)
    if old.groups != new.groups:
        return contracts.GROUP_CONTRACT
    arrived = contracts.contract_of(new.position, new.position)
    return Contract(
        restores=True,
        updates=arrived.updates | contracts.GROUP_CONTRACT.updates,
        deletes=arrived.deletes,
    )


def check_contract(
    changes: tuple[stack_steps.Step, ...], contract: Contract, standing: Standing
) -> None:
    """Refuse a preview that goes beyond its contract.

    Raises:
        ContractError: naming every step that may not be.
    """
    allowed = {
        Op.CREATE: contract.creates,
        Op.UPDATE: contract.updates | {contracts.GATE},
        Op.DELETE: contract.deletes,
    }
    offending = [
        f"{step.op} {step.name} ({step.type})"
        for step in changes
        if scope_of(step, standing) not in allowed.get(step.op, frozenset())
        and not (contract.restores and step.op == Op.CREATE)
    ]
    if offending:
        msg = (
            f"expected the update to {standing.describe()} to {describe(contract)}, its preview "
            f"wants to {', '.join(offending)}. Nothing was changed: put the configuration or the "
            "program back, then run `migrate resume`"
        )
        raise ContractError(msg)


def scope_of(step: stack_steps.Step, standing: Standing) -> Scope:
    """What a step touches, seen from the migration."""
    if step.color is not None and step.part in _TIERS_OF_COLOR:
        side = Side.SOURCE if step.color is standing.source else Side.TARGET
        return Scope(side, step.part)
    return Scope(Side.SHARED, step.part)


def describe(contract: Contract) -> str:
    """A contract for people."""
    words = [
        f"{verb} {', '.join(sorted(_scope_text(scope) for scope in scopes))}"
        for verb, scopes in (
            ("create", contract.creates),
            ("change", contract.updates),
            ("delete", contract.deletes),
        )
        if scopes
    ]
    if contract.restores:
        words.insert(0, "create what is missing")
    return "; ".join(words) or "touch nothing but the gate"


def _scope_text(scope: Scope) -> str:
    if scope.side is Side.SHARED:
        return "the sync engine" if scope.part == ENGINE_PART else scope.part
    return f"{scope.part} of the {scope.side}"


def _summary(changes: tuple[stack_steps.Step, ...]) -> str:
    touched = [step for step in changes if step.name != _GATE]
    counts: dict[str, int] = {}
    for step in touched:
        counts[step.op] = counts.get(step.op, 0) + 1
    return ", ".join(f"{count} {op}" for op, count in sorted(counts.items())) or "only the gate"
