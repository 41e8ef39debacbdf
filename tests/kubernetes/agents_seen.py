"""What a migration and the checks see of agents, told as JSON from where a cluster's names hold.

Run in the sandbox of the real node, beside its pods: `python -m tests.kubernetes.agents_seen STACK
PROJECT`. Guards of phases that the rig does not walk are asked of a cluster that stands at an
earlier one.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from stacks.automation import StackRunner
from stacks.checks import run as cluster_check
from stacks.checks.declared import declared
from stacks.migration import readers
from stacks.migration.bounds import Bounds
from stacks.migration.errors import MigrationError
from stacks.migration.evidence import Evidence
from stacks.migration.executor import Situation
from stacks.migration.guards import Guard
from stacks.migration.guards.agents import (
    nothing_in_motion,
    registered_source_agents,
    registered_target_agents,
    room_on_target,
    source_agents_empty,
)
from stacks.migration.guards.frameworks import movers_known
from stacks.migration.world import World

GUARDS = (
    nothing_in_motion, registered_source_agents, registered_target_agents, room_on_target,
    source_agents_empty, movers_known,
)  # fmt: skip
_LIMITS = {"isolation": "cgroups/cpu,cgroups/mem"}


async def _look(runner: StackRunner, folder: Path) -> dict[str, Any]:
    standing = runner.actual()
    assert standing is not None
    async with World(runner, standing, folder, Bounds()) as world:
        found = {guard.__name__: await _told(guard, world) for guard in GUARDS}
        taken = await readers.inventory(world, world.source)
    wanted = declared(runner.get_config(), standing, runner.outputs())
    # As if the pool declared that it holds tasks to their share.
    profiles = tuple(replace(one, flags=_LIMITS) for one in wanted.profiles)
    checks = await cluster_check.check(replace(wanted, profiles=profiles))
    limits = [one.as_dict() for one in checks.evidence if one.name.endswith(" limits")]
    return {"guards": found, "inventory": taken.as_dict(), "limits": limits}


async def _told(guard: Guard, world: World) -> dict[str, Any]:
    try:
        return (await guard(world, cast("Situation", None))).as_dict()
    except MigrationError as error:
        # As whoever asks guards takes it.
        return Evidence(guard.__name__, ok=False, said=str(error)).as_dict()


def main() -> None:
    """Look once, and tell."""
    stack, project = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(_look(StackRunner(stack, Path(project)), Path(folder)))
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
