"""A look at both ensembles before a run: would it start, and as what. Nothing is written.

Problems are what a run would fail of or wait for; warnings are what its operator should know.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from sync_engine.acl_fence import is_unreadable
from sync_engine.base import BaseStore
from sync_engine.direction import Side
from sync_engine.ensemble import EnsembleAddress, EnsembleFacts, facts, is_session_known
from sync_engine.errors import NoAuthError
from sync_engine.link import Link
from sync_engine.offline import open_links
from sync_engine.provenance import inspect, judge, read_known, read_owners
from sync_engine.settings import Rules
from sync_engine.verb_report import CheckReport, ServerCheck, SideCheck

_OLDEST = (3, 5)
_WATCHES = (3, 6)
# Followers may lose writes when they catch up (ZOOKEEPER-4785, ZOOKEEPER-4925); mended in these.
_SAFE = {(3, 8): 7, (3, 9): 4}


def address(rules: Rules, side: Side) -> EnsembleAddress:
    """Where a side is, for questions that need no engine."""
    settings = rules.sides[side]
    if settings.auth is None:
        return EnsembleAddress(settings.hosts, tls=settings.tls)
    return EnsembleAddress(
        settings.hosts, settings.auth.file, scheme=settings.auth.scheme, tls=settings.tls
    )


async def check(rules: Rules) -> CheckReport:
    """Look at both sides.

    Raises:
        EnsembleUnreachableError: a side does not answer.
    """
    found = dict(
        zip(Side, await asyncio.gather(*(facts(address(rules, s)) for s in Side)), strict=True)
    )
    problems, warnings = list[str](), list[str]()
    for side, one in found.items():
        told = about_servers(side, one)
        problems += told[0]
        warnings += told[1]
    if not problems:
        async with open_links(rules) as links:
            problems += await _would_wait(rules, links, warnings)
            for side, link in links.items():
                await _look_at_roots(rules, side, link, problems, warnings)
            # Last: where it is found, side a's connection is lost. A run looks by a znode.
            if await is_session_known(links[Side.B].lane(links[Side.A].reader.saved)):
                problems.append(
                    "both sides lead to one ensemble: a session of side a is known on side b; "
                    "correct the rules' hosts"
                )
    return CheckReport(
        subtrees=len(rules.subtrees),
        projections=len(rules.projections),
        sides={side: _told(one) for side, one in found.items()},
        problems=problems,
        warnings=warnings,
    )


def about_servers(side: Side, found: EnsembleFacts) -> tuple[list[str], list[str]]:
    """Problems and warnings of what a side's servers say of themselves."""
    problems, warnings = list[str](), list[str]()
    if not found.has_quorum:
        problems.append(f"side {side.value} has no quorum: start more of its servers")
    for server in found.servers:
        name = f"side {side.value}, {server.address}"
        version = _version(server.version)
        if not server.reachable:
            warnings.append(f"{name}: does not answer")
        elif version is None:
            continue
        elif version[:2] < _OLDEST:
            problems.append(f"{name}: expected ZooKeeper 3.5 or newer, saw {server.version}")
        elif version[:2] < _WATCHES:
            warnings.append(
                f"{name}: {server.version} has no persistent watches, so changes are found by "
                "scans alone"
            )
        if version is not None and version[2] < _SAFE.get(version[:2], 0):
            warnings.append(
                f"{name}: {server.version} may lose writes when a server catches up "
                f"(ZOOKEEPER-4785, ZOOKEEPER-4925): use 3.9.4 or newer"
            )
    return problems, warnings


def _version(text: str | None) -> tuple[int, int, int] | None:
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", text or "")
    return None if match is None else (int(match[1]), int(match[2]), int(match[3]))


def _told(found: EnsembleFacts) -> SideCheck:
    return SideCheck(
        servers=[
            ServerCheck(address=s.address, mode=s.mode, version=s.version) for s in found.servers
        ],
        leader=found.leader,
        zxid=f"0x{found.zxid:x}",
    )


async def _would_wait(rules: Rules, links: Mapping[Side, Link], warnings: list[str]) -> list[str]:
    roots = {side: [rule.path(side) for rule in rules.subtrees] for side in Side}
    found = {side: await inspect(side, link.writer, roots[side]) for side, link in links.items()}
    store = BaseStore.snapshot(rules.state_dir / "base.sqlite")
    if store.damage is not None:
        warnings.append(store.damage)
    owners = await read_owners(links, rules.subtrees)
    return [f"a run would wait: {why}" for why in judge(found, read_known(store), owners).reasons]


async def _look_at_roots(
    rules: Rules, side: Side, link: Link, problems: list[str], warnings: list[str]
) -> None:
    for rule in rules.subtrees:
        path = rule.path(side)
        try:
            node = await link.reader.read(path)
        except NoAuthError:
            problems.append(f"side {side.value}: {path} is hidden from us: give the super user")
            continue
        if node is None:
            if side is rule.owner:
                warnings.append(f"side {side.value}: {path} is not there yet, so nothing is copied")
        elif is_unreadable(node.acl):
            problems.append(
                f"side {side.value}: part of the ACL of {path} is hidden from us: give the super "
                "user's credentials"
            )
