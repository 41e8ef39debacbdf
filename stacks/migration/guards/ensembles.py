"""Guards on the sync engine and the two ensembles.

Each looks once and returns evidence; which edge has which is said in `tables.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from stacks.migration.acts import ensembles
from stacks.migration.evidence import Evidence
from stacks.migration.executor import Situation
from stacks.migration.world import World
from stacks.topology import Color
from sync_engine.client import EnsembleFacts, Side, are_one, facts

# Older ones have neither the requests nor the admin's view that the engine needs.
_ZOOKEEPER_MIN = (3, 5)


async def engine_live(world: World, _: Situation) -> Evidence:
    """The engine follows both sides, may read and write all, and keeps up."""
    status = await (await world.engine()).status()
    lags = {str(way): found.lag.p99_ms for way, found in status.directions.items()}
    backlog = sum(found.backlog for found in status.directions.values())
    ok = status.is_sound and not status.unreadable
    said = f"engine {status.state}, backlog {backlog}, lag p99 {_lag_text(lags)}"
    if status.reasons or status.unreadable:
        said += f": {'; '.join([*status.reasons, *status.unreadable[:3]])}"
    numbers = {
        "lag_p99_ms": lags,
        "backlog": backlog,
        "conflicts": status.conflicts,
        "unreadable": len(status.unreadable),
    }
    return Evidence("engine", ok=ok, said=said, numbers=numbers, told_by="engine /status")


def _lag_text(lags: Mapping[str, float | None]) -> str:
    known = [f"{way} {lag:.0f} ms" for way, lag in lags.items() if lag is not None]
    return ", ".join(known) or "unknown"


async def audit_equal(world: World, _: Situation) -> Evidence:
    """A full comparison finds no difference."""
    report = await (await world.engine()).audit(timeout_s=world.bounds.audit_s)
    return ensembles.audit_evidence(report)


async def source_serves(world: World, _: Situation) -> Evidence:
    """The source's ensemble has a quorum."""
    return ensemble_serves(await facts(world.ensemble(world.source)), world.source)


async def target_serves(world: World, _: Situation) -> Evidence:
    """The target's ensemble has a quorum."""
    return ensemble_serves(await facts(world.ensemble(world.target)), world.target)


def ensemble_serves(found: EnsembleFacts, color: Color) -> Evidence:
    """Whether an ensemble serves, and with how many of its servers."""
    serving = [server for server in found.servers if server.mode is not None]
    ok = found.has_quorum and len(serving) == len(found.servers)
    said = f"{color}: {len(serving)} of {len(found.servers)} servers serve, leader {found.leader}"
    numbers = {
        "servers": len(found.servers),
        "serving": len(serving),
        "epoch": found.epoch,
        "zxid": f"0x{found.zxid:x}",
    }
    return Evidence("ensemble", ok=ok, said=said, numbers=numbers, told_by="srvr of its servers")


async def versions_known(world: World, _: Situation) -> Evidence:
    """The source's servers and masters are of versions that a migration was built for."""
    found = await facts(world.ensemble(world.source))
    leader = await (await world.operator(world.source)).version()
    versions = {server.address: server.version or "?" for server in found.servers}
    old = [f"{name} {v}" for name, v in versions.items() if _version(v) < _ZOOKEEPER_MIN]
    said = f"ZooKeeper {', '.join(sorted(set(versions.values())))}, Mesos {leader.version}"
    if old:
        least = ".".join(map(str, _ZOOKEEPER_MIN))
        said = f"ZooKeeper older than {least}, or silent: {', '.join(old)}. Upgrade it first"
    numbers = {"zookeeper": versions, "mesos": leader.version}
    return Evidence("versions", ok=not old, said=said, numbers=numbers, told_by="srvr, GET_VERSION")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("-")[0])[:2])


async def ensembles_apart(world: World, _: Situation) -> Evidence:
    """The colours have an ensemble each, and the target's transaction ids are above the source's.

    Names tell little, as one server may have many: a session that the source has opened must be
    unknown to the target.
    """
    addresses = world.ensemble(world.source), world.ensemble(world.target)
    source, target = [await facts(address) for address in addresses]
    shared = {s.address for s in source.servers} & {s.address for s in target.servers}
    ok, said = False, ""
    if shared:
        said = f"expected two ensembles, saw both colours name {', '.join(sorted(shared))}"
    elif await are_one(*addresses):
        said = (
            f"expected two ensembles, saw a session of {world.source} known to the servers of "
            f"{world.target}: {' and '.join(one.hosts for one in addresses)} lead to one"
        )
    else:
        ok = target.zxid > source.zxid
        said = f"zxid of {world.target} 0x{target.zxid:x}, of {world.source} 0x{source.zxid:x}"
    numbers = {"source_epoch": source.epoch, "target_epoch": target.epoch, "shared": len(shared)}
    return Evidence("zxid", ok=ok, said=said, numbers=numbers, told_by="srvr and a session")


async def owned_by_source(world: World, _: Situation) -> Evidence:
    """Every subtree is the source's."""
    return await _owned(world, Side.A, "the source")


async def owned_by_target(world: World, _: Situation) -> Evidence:
    """Every subtree is the target's."""
    return await _owned(world, Side.B, "the target")


async def _owned(world: World, side: Side, owner: str) -> Evidence:
    subtrees = (await (await world.engine()).status()).subtrees
    away = [name for name, s in subtrees.items() if s.owner is not side or s.flipping]
    said = (
        f"all {len(subtrees)} owned by {owner}" if subtrees else "no subtree in the engine's rules"
    )
    if away:
        said = f"owned by the other side: {', '.join(away)}"
    ok = bool(subtrees) and not away
    numbers = {"subtrees": len(subtrees)}
    return Evidence("owners", ok=ok, said=said, numbers=numbers, told_by="engine /status")


async def source_quiet(world: World, _: Situation) -> Evidence:
    """Nobody but the engine has a session on the source's ensemble."""
    return await ensembles.quiet(world, _say_nothing)


def _say_nothing(_: str) -> None:
    """For waits inside of a guard, whose own bound tells."""
