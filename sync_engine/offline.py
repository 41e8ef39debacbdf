"""A look at both ensembles without an engine: what a run would change, and what differs.

Nothing is written to an ensemble or to the state folder; what is known from earlier runs is read
from a copy of the base. An engine may be running meanwhile. (A session is a transaction of its own
in ZooKeeper; it changes no znode.)
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

from sync_engine import documents
from sync_engine.audit import difference, differing, sum_side
from sync_engine.base import Base, BaseStore
from sync_engine.comparison import compare, decide_again
from sync_engine.conflicts import ConflictJournal
from sync_engine.context import Applied, Shared, Subtree
from sync_engine.decide import Action, Decision, is_mass_delete, view
from sync_engine.direction import Roots, Side
from sync_engine.documents import Identity, Ownership
from sync_engine.errors import (
    ConnectionLostError,
    EnsembleUnreachableError,
    NoNodeError,
    RulesError,
)
from sync_engine.fence import Fence
from sync_engine.held import HeldPaths
from sync_engine.link import Link
from sync_engine.progress import SILENT, Progress
from sync_engine.report import DiffReport, PathDifference
from sync_engine.resolving import copy_of
from sync_engine.rules import SubtreeRule
from sync_engine.settings import Rules
from sync_engine.slots import SlotPool
from sync_engine.transaction import Work
from sync_engine.verb_report import PlannedChange, PlanReport, SubtreePlan
from sync_engine.watch import WatchEvent

_START_BOUND_S = 10.0
_PLANNED_NOTHING = (Action.NOTHING, Action.MERGE, Action.FORGET, Action.YIELD)
_UNDECIDED = Decision(Action.NOTHING)
_CHUNK = 500
# What a plan holds in memory before it is cut to what was asked for.
_CHANGES_MAX = 100_000


async def plan(rules: Rules, *, limit: int, progress: Progress = SILENT) -> PlanReport:
    """What a run would change now.

    Raises:
        EnsembleUnreachableError: a side does not answer.
    """
    async with open_links(rules) as links:
        store = BaseStore.snapshot(rules.state_dir / "base.sqlite")
        found = {
            rule.name: await _plan_one(rules, rule, links, store, limit, progress)
            for rule in rules.subtrees
        }
    return PlanReport(subtrees=found, warnings=_warnings(store))


async def diff(
    rules: Rules, names: Sequence[str], *, limit: int, progress: Progress = SILENT
) -> DiffReport:
    """Which paths differ now, with both versions of the first `limit`; no names are all subtrees.

    Raises:
        EnsembleUnreachableError: a side does not answer.
        RulesError: no such subtree.
    """
    total, differences, znodes = 0, list[PathDifference](), dict[str, int]()
    async with open_links(rules) as links:
        store = BaseStore.snapshot(rules.state_dir / "base.sqlite")
        for rule in _chosen(rules, names):
            subtree = await _subtree(rules, rule, links, store)
            progress.expect(len(Side) * len(subtree.base), rule.name)
            a, b = await asyncio.gather(
                *(sum_side(subtree, side, progress=progress) for side in Side)
            )
            znodes[rule.name] = a.znodes
            paths = differing(a, b)
            total += len(paths)
            for rel in paths[: max(0, limit - len(differences))]:
                one = await _difference(subtree, rel)
                if one is not None:
                    differences.append(one)
                else:
                    # Equal by now: it was under way.
                    total -= 1
    return DiffReport(
        znodes=znodes, total=total, differences=differences, warnings=_warnings(store)
    )


def _warnings(store: BaseStore) -> list[str]:
    return [] if store.damage is None else [store.damage]


def _chosen(rules: Rules, names: Sequence[str]) -> list[SubtreeRule]:
    known = {rule.name: rule for rule in rules.subtrees}
    for name in names:
        if name not in known:
            msg = f"expected one of the subtrees ({', '.join(known)}), saw {name!r}: correct it"
            raise RulesError(msg)
    return [known[name] for name in names or known]


async def _difference(subtree: Subtree, rel: str) -> PathDifference | None:
    paths = {side: subtree.roots.path(side, rel) for side in Side}
    a, b = await asyncio.gather(
        *(subtree.links[side].reader.read(path) for side, path in paths.items())
    )
    row = subtree.base.get(rel)
    kind = difference(view(a, row), view(b, row))
    if kind is None:
        return None
    return PathDifference(
        subtree=subtree.name,
        kind=kind,
        path_a=paths[Side.A],
        path_b=paths[Side.B],
        a=copy_of(a),
        b=copy_of(b),
    )


async def _plan_one(  # noqa: PLR0913, PLR0917 - what one subtree's plan is made of
    rules: Rules,
    rule: SubtreeRule,
    links: Mapping[Side, Link],
    store: BaseStore,
    limit: int,
    progress: Progress,
) -> SubtreePlan:
    subtree = await _subtree(rules, rule, links, store)
    ways = [subtree, subtree.mirrored(subtree.policy)] if rule.goes_both_ways else [subtree]
    trusted = subtree.base.is_trusted
    counts: Counter[str] = Counter()
    changes: list[PlannedChange] = []
    # Without a base both sides are read, and nobody knows how much there is.
    progress.expect(len(ways) * len(subtree.base) if trusted else 0, rule.name)
    for way in ways:
        missing: list[str] = []
        async for works in compare(
            way, trusted=trusted, found_missing=missing.extend, progress=progress
        ):
            await _note(way, works, counts, changes)
        gone = [Work(rel, None, None, None, way.base.get(rel), _UNDECIDED) for rel in missing]
        for start in range(0, len(gone), _CHUNK):
            await _note(way, gone[start : start + _CHUNK], counts, changes)
    return SubtreePlan(
        owner=subtree.owner,
        has_base=trusted,
        counts=dict(counts),
        stalls=_stall(subtree, counts[Action.DELETE.value]),
        changes=changes[:limit],
    )


async def _note(
    way: Subtree, works: list[Work], counts: Counter[str], changes: list[PlannedChange]
) -> None:
    kept = [work for work in works if work.decision.action is Action.KEEP]
    looked = [work for work in works if work.decision.action is not Action.KEEP]
    if looked:
        await decide_again(way, looked)
    for work in (*kept, *looked):
        decision = work.decision
        if decision.action in _PLANNED_NOTHING:
            continue
        if decision.action is Action.SKIP and decision.reason == "ephemeral":
            continue
        counts[decision.action.value] += 1
        if len(changes) < _CHANGES_MAX:
            changes.append(
                PlannedChange(
                    path=way.target_path(work.rel),
                    side=way.owner.other,
                    action=decision.action.value,
                    conflict=decision.conflict,
                    why=decision.why or decision.reason,
                )
            )


def _stall(subtree: Subtree, deletes: int) -> str | None:
    tuning, rows = subtree.tuning, len(subtree.base)
    if is_mass_delete(
        deletes, rows, share_max=tuning.delete_share_max, deletes_min=tuning.delete_count_free
    ):
        return f"{deletes} of {rows} znodes would be deleted: an operator must confirm"
    return None


async def _subtree(
    rules: Rules, rule: SubtreeRule, links: Mapping[Side, Link], store: BaseStore
) -> Subtree:
    """A subtree that can be read and decided, and not written: it has no slots and no fence."""
    roots = Roots(rule.path_a, rule.path_b)
    pair, doc = await _read_documents(links, rule)
    if pair is None or store.meta("pair") != pair:
        # What is known is of other ensembles.
        store.bind(pair or "none")
    base = Base(store, rule.name, roots)
    base.narrow(rule.selection)
    return Subtree(
        name=rule.name,
        roots=roots,
        doc=doc,
        base=base,
        slots={side: SlotPool(()) for side in Side},
        links=links,
        fence=_Nobody(links, "nobody"),
        conflicts=ConflictJournal(rules.state_dir / "nothing-is-recorded.jsonl"),
        tuning=rules.tuning,
        on_applied=_ignore_applied,
        policy=rules.policy(rule),
        shared=Shared(HeldPaths(store, rule.name, rule.selection), lambda: None),
        kind=rule.kind,
        selection=rule.selection,
    )


async def _read_documents(
    links: Mapping[Side, Link], rule: SubtreeRule
) -> tuple[str | None, Ownership]:
    """The pair, if both sides say that they are one, and who owns the subtree."""
    identities: dict[Side, Identity | None] = {}
    owners: list[Ownership] = []
    for side, link in links.items():
        data = await _get(link, documents.IDENTITY)
        identities[side] = documents.decode(Identity, data, documents.IDENTITY) if data else None
        path = documents.subtree_path(rule.name)
        data = await _get(link, path)
        if data:
            owners.append(documents.decode(Ownership, data, path))
    first = Ownership(owner=rule.owner)
    a, b = identities[Side.A], identities[Side.B]
    if a is None or b is None or (a.pair, a.side, b.side) != (b.pair, Side.A, Side.B):
        return None, first
    truth = max(owners, key=lambda doc: doc.term, default=first)
    return a.pair, first if rule.direction is not None else truth


async def _get(link: Link, path: str) -> bytes | None:
    await link.reader.sync(path)
    try:
        return (await link.reader.get(path))[0]
    except NoNodeError:
        return None


@asynccontextmanager
async def open_links(rules: Rules) -> AsyncGenerator[dict[Side, Link]]:
    """Lanes to both sides, without watches."""
    links = {
        side: Link(side, rules.sides[side], rules.tuning, on_event=_ignore, on_gap=_ignore_gap)
        for side in Side
    }
    lanes = [lane for link in links.values() for lane in (link.reader, link.writer)]
    try:
        await asyncio.gather(*(lane.start(bound_s=_START_BOUND_S) for lane in lanes))
        yield links
    except ConnectionLostError as error:
        raise EnsembleUnreachableError(str(error)) from None
    finally:
        await asyncio.gather(*(lane.close() for lane in lanes))


class _Nobody(Fence):
    """The fence of who writes nothing, not even to find out how far a side is."""

    async def barrier(self, side: Side) -> int:
        """No bound: what is read may be a moment old."""
        del side
        return 0


def _ignore_applied(subtree: Subtree, applied: Sequence[Applied]) -> None:
    """Nothing is applied."""


def _ignore(side: Side, event: WatchEvent) -> None:
    """Nothing is watched."""


def _ignore_gap(side: Side) -> None:
    """Nothing is watched."""
