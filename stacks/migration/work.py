"""Guards, backups, acts and proofs on the real systems: all that an executor does but updates."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from clients.errors import AccessError
from clients.kubernetes import KubernetesError
from clients.marathon.errors import MarathonError
from clients.mesos.errors import MesosError
from components.errors import ComponentError
from stacks.automation import StackRunner
from stacks.migration.acts import ACTS
from stacks.migration.backup import back_up
from stacks.migration.bounds import Bounds
from stacks.migration.errors import ActFailedError, MigrationError
from stacks.migration.evidence import Evidence, Findings
from stacks.migration.executor import Situation
from stacks.migration.guards import Guard, tables
from stacks.migration.phases import REMOVAL_GUARDS, Step, StepKind
from stacks.migration.updates import Tell
from stacks.migration.waiting import NotYetError, translated, words_of
from stacks.migration.world import World
from sync_engine.client import SyncError

_PAUSE_S = 0.5


class RealWork:
    """Runs each step in a world of its own, because each update changes addresses."""

    def __init__(self, runner: StackRunner, folder: Path, bounds: Bounds | None = None) -> None:
        self._runner = runner
        self._folder = folder
        self._bounds = bounds or Bounds()

    async def perform(self, step: Step, situation: Situation, tell: Tell) -> Findings:
        """Run a guard, backup, act or proof; returns when it holds.

        Raises:
            MigrationError: it did not come to its end.
        """
        world = World(self._runner, situation.standing, self._folder, self._bounds)
        try:
            async with world:
                return await self._perform(step, world, situation, tell)
        except (
            KubernetesError, MesosError, MarathonError, SyncError, httpx.HTTPError,
        ) as error:  # fmt: skip
            raise translated(error) from error
        except (AccessError, ComponentError) as error:
            raise ActFailedError(words_of(error)) from error
        except OSError as error:
            msg = (
                f"expected to write {error.filename or self._folder}, saw: {error.strerror}. Mend "
                "that, then run `migrate resume`"
            )
            raise ActFailedError(msg) from error

    async def _perform(
        self, step: Step, world: World, situation: Situation, tell: Tell
    ) -> Findings:
        match step.kind:
            case StepKind.GUARD | StepKind.PROOF:
                chosen = guards_of(step, situation)
                return await look_at(chosen, world, situation, tell)
            case StepKind.BACKUP:
                return await back_up(world, situation, tell)
            case StepKind.ACT:
                return await ACTS[step.name](world, situation, tell)
            case StepKind.UPDATE | StepKind.RECORD:
                msg = f"step {step.name!r} is the executor's own"
                raise AssertionError(msg)


def guards_of(step: Step, situation: Situation) -> Sequence[Guard]:
    """The guards of a step; pure."""
    transition = situation.transition
    if transition.edge is None and transition.group is None:
        return ()  # An exchange changes nothing that runs.
    key = (transition.edge, transition.direction)
    if step.kind is StepKind.PROOF:
        return tables.PROOFS[key]
    if step.name == REMOVAL_GUARDS:
        return tables.REMOVAL[key]
    return (tables.OPENING if situation.is_opening else tables.ON_THE_WAY)[key]


async def look_at(
    chosen: Sequence[Guard], world: World, situation: Situation, tell: Tell
) -> Findings:
    """Look at guards in order, each until it holds or the bound has passed.

    What a server's death or an election has just changed mends itself; a guard that still does not
    hold at the end is returned as it was seen last.
    """
    found: list[Evidence] = []
    deadline = time.monotonic() + world.bounds.guard_s
    for guard in chosen:
        evidence = await _until_it_holds(guard, world, situation, deadline=deadline, tell=tell)
        tell(f"{evidence.name}: {evidence.said}")
        found.append(evidence)
        if not evidence.ok:
            break
    return Findings(tuple(found))


async def _until_it_holds(
    guard: Guard, world: World, situation: Situation, *, deadline: float, tell: Tell
) -> Evidence:
    name = guard.__name__.replace("_", " ")
    while True:
        try:
            evidence = await guard(world, situation)
        except (
            AccessError, KubernetesError, MesosError, MarathonError, SyncError, httpx.HTTPError,
            NotYetError, MigrationError,
        ) as error:  # fmt: skip
            evidence = Evidence(name, ok=False, said=words_of(error))
        if evidence.ok or time.monotonic() > deadline:
            return evidence
        tell(f"{evidence.name}: {evidence.said}")
        await asyncio.sleep(_PAUSE_S)
