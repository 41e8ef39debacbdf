"""The backup before a transition: what would be needed to put things back by hand.

Znodes of both sides with their ACLs, the registry's read-out, and what frameworks and client groups
say of themselves, as files beside the journal. ACLs name users by the digest that ZooKeeper itself
shows; no file holds a secret.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import httpx

from clients.marathon.errors import MarathonError
from clients.mesos.errors import MesosError
from components import whole_file
from stacks.migration import marathon, readers
from stacks.migration.evidence import Evidence, Findings
from stacks.migration.executor import Situation
from stacks.migration.updates import Tell
from stacks.migration.world import World
from sync_engine import client as zookeeper

# The engine's own node changes all the time, and /zookeeper belongs to the servers.
_NOT_SAVED = frozenset({"zookeeper", ".zksync"})
# Of each migration its first, from which everything began, and the newest.
_KEPT_MAX = 40
_MIGRATIONS_MAX = 10


async def back_up(world: World, situation: Situation, tell: Tell) -> Findings:
    """Write all that can be read; what is down cannot, and is said so."""
    name = situation.transition.name.replace(" -> ", "-to-").replace(" ", "-")
    of_migration = world.folder / "backups" / situation.migration
    folder = of_migration / f"{time.time_ns() // 1_000_000}-{name}"
    folder.mkdir(parents=True, mode=0o700)
    evidence: list[Evidence] = []
    for color in (world.source, world.target):
        if world.has_ensemble(color):
            tell(f"saving znodes of {color}")
            evidence.append(await _save_znodes(world, str(color), folder))
        if world.masters(color):
            tell(f"saving the registry of {color}")
            evidence.append(await _save_registry(world, str(color), folder))
    evidence.append(await _save_frameworks(world, folder))
    drop_oldest(of_migration.parent)
    return Findings(tuple(evidence), {"folder": str(folder)})


async def _save_znodes(world: World, name: str, folder: Path) -> Evidence:
    address = world.ensemble(world.source if name == world.source else world.target)
    roots = [one for one in await zookeeper.children(address, "/") if one not in _NOT_SAVED]
    file = folder / f"{name}-znodes.jsonl"
    report = await zookeeper.export(address, [f"/{one}" for one in sorted(roots)], file)
    said = f"{report.znodes} znodes of {name}, {report.bytes} bytes"
    numbers = {"znodes": report.znodes, "bytes": report.bytes, "sha256": report.sha256}
    return Evidence("znodes", ok=True, said=said, numbers=numbers, told_by=str(file))


async def _save_registry(world: World, name: str, folder: Path) -> Evidence:
    color = world.source if name == world.source else world.target
    file = folder / f"{name}-registry.json"
    try:
        operator = await world.operator(color)
        registry, state = await readers.registry(operator), await operator.state()
    except MesosError as error:
        # Behind a projection the source's masters have no registry to read.
        return Evidence("registry", ok=True, said=f"{name} not read: {error}")
    agents = [asdict(agent) for agent in state.agents.registered]
    tasks = [asdict(task) for task in state.tasks.live]
    _write(file, {**registry.as_dict(), "agents": agents, "tasks": tasks})
    return _saved(f"registry of {name}", len(agents), file)


async def _save_frameworks(world: World, folder: Path) -> Evidence:
    file = folder / "frameworks.json"
    states: dict[str, Any] = {}
    silent: list[str] = []
    for name, url in world.frameworks().items():
        try:
            states[name] = await world.get(f"{url}/state")
        except httpx.HTTPError as error:
            # In the middle of edge 2 they stand still by design.
            silent.append(f"{name} does not answer ({type(error).__name__})")
    try:
        states |= await marathon.backup(world)
    except MarathonError as error:
        silent.append(f"Marathon does not answer ({type(error).__name__})")
    _write(file, states)
    said = "; ".join([f"frameworks: {len(states)}", *silent])
    return Evidence(
        "saved", ok=True, said=said, numbers={"entries": len(states)}, told_by=str(file)
    )


def _saved(what: str, count: int, file: Path) -> Evidence:
    numbers = {"entries": count}
    return Evidence("saved", ok=True, said=f"{what}: {count}", numbers=numbers, told_by=str(file))


def _write(file: Path, content: Any) -> None:
    text = json.dumps(content, indent=1, sort_keys=True, default=_plain)
    whole_file.write(file, f"{text}\n")


def _plain(value: object) -> object:
    if isinstance(value, set | frozenset):
        return sorted(map(str, cast("frozenset[object]", value)))
    return str(value)


def drop_oldest(folder: Path) -> None:
    """Keep the newest migrations, and of each its first backup and the newest ones."""
    migrations = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
    for old in migrations[:-_MIGRATIONS_MAX]:
        shutil.rmtree(old)
    for migration in migrations[-_MIGRATIONS_MAX:]:
        for old in sorted(migration.iterdir())[1:-_KEPT_MAX]:
            shutil.rmtree(old)
