"""What to do about one path, from the owner's copy, the other copy and the base. Pure.

The owner of a subtree wins. The base tells who has changed: a target that still carries the base's
stamp was last written by the engine, so overwriting it loses nothing; any other content there was
written by somebody who does not own the subtree and is a conflict, recorded before it is
overwritten. Most decisions are made without reading the target, whose copy is assumed to be the
base's (`assumed`): every write carries the version that this assumption implies, so the server
refuses it when the assumption is wrong, and the decision is made again with what was read.

Where both sides' writes are copied, each side has a worker of its own, and both come to one answer
about a path (`decide_two_way`): one of them acts and the other yields to it, or both do nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from sync_engine.acl_fence import is_fenced, is_unreadable, same_acl
from sync_engine.direction import Side
from sync_engine.rows import Row, Stamp, data_hash
from sync_engine.strategy import (
    Choice,
    Conflict,
    DeleteConflict,
    Policy,
    choose,
    choose_deleted,
)
from sync_engine.znode import Acl, Znode


class Action(StrEnum):
    """What a decision does to the target, or to the base alone."""

    NOTHING = "nothing"
    MERGE = "merge"
    """Both sides are equal: only the base is written."""
    FORGET = "forget"
    """Both sides are gone: only the base's row is removed."""
    KEEP = "keep"
    """The target's node stays, and the base notes that nobody knows whose it is."""
    SKIP = "skip"
    """Not copied, for the reason given."""
    YIELD = "yield"
    """The worker of the other way is to look at it: that side has what counts."""
    HOLD = "hold"
    """A conflict without a winner: neither side is written until an operator resolves it."""
    ASK = "ask"
    """A conflict that a merge hook settles."""
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class View:
    """One copy of a path, without its bytes. `acl` is the original one also where it is fenced."""

    stamp: Stamp
    data_hash: bytes
    acl: tuple[Acl, ...]
    ephemeral: bool = False
    fenced: bool = False
    mtime: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """The action, which of data and ACL it writes, and why it is a conflict if it is one."""

    action: Action
    data: bool = False
    acl: bool = False
    conflict: str | None = None
    reason: str | None = None
    why: str | None = None
    """By what rule the conflict was settled, or why it was not."""


def view(
    node: Znode | None, row: Row | None, *, original: tuple[Acl, ...] | None = None
) -> View | None:
    """A node as decisions see it: a fenced ACL stands for the original that the base holds.

    `original` is what to take where no base knows it: the other copy's ACL.
    """
    if node is None:
        return None
    acl, fenced = node.acl, is_fenced(node.acl)
    if fenced:
        if row is not None and not is_fenced(row.acl):
            acl = row.acl
        elif original is not None:
            acl = original
    stat = node.stat
    is_ephemeral = stat.ephemeral_owner != 0
    return View(Stamp.of(stat), data_hash(node.data), acl, is_ephemeral, fenced, stat.mtime)


def assumed(row: Row | None, target: Side) -> View | None:
    """The target's copy if nobody but the engine has written there."""
    stamp = None if row is None else row.stamp(target)
    if row is None or stamp is None or row.is_gone(target):
        return None
    return View(stamp, row.data_hash, row.acl)


def decide(
    source: View | None,
    target: View | None,
    row: Row | None,
    *,
    owner: Side,
    trusted: bool = True,
) -> Decision:
    """Decide one path. Without a trusted base nothing is deleted that only the target has."""
    if source is not None and source.ephemeral:
        # An ephemeral cannot be replicated as what it is, so to the target it is not there.
        source = None
        if target is None and row is None:
            return Decision(Action.SKIP, reason="ephemeral")
    if source is None:
        return _decide_gone(target, row, owner=owner, trusted=trusted)
    reason = _unusable_acl(source)
    if reason is not None:
        return Decision(Action.SKIP, reason=reason)
    was_there = row is not None and row.stamp(owner) is not None
    if target is None:
        lost = was_there and row is not None and row.stamp(owner.other) is not None
        # One that stays where it was deleted was not deleted by the other side.
        lost = lost and row is not None and not row.is_kept
        return Decision(
            Action.CREATE, data=True, acl=True, conflict="deleted-by-other" if lost else None
        )
    if target.ephemeral:
        return Decision(Action.SKIP, conflict="ephemeral-on-other-side", reason="ephemeral")
    return _decide_both(source, target, row, owner=owner)


def decide_two_way(  # noqa: PLR0913 - values only, each of them one fact
    source: View | None,
    target: View | None,
    row: Row | None,
    *,
    side: Side,
    policy: Policy,
    skew_ms: float | None = None,
    alive: bool = False,
) -> Decision:
    """Decide one path for the worker that reads `side`, where both sides' writes are copied.

    `alive`: one copy is gone while the other has children that are new; they keep it.
    """
    if source is not None and target is not None and (source.ephemeral or target.ephemeral):
        return Decision(Action.SKIP, conflict="ephemeral-on-other-side", reason="ephemeral")
    if source is not None and source.ephemeral:
        source = None
        if row is None:
            return Decision(Action.SKIP, reason="ephemeral")
    if target is not None and target.ephemeral:
        target = None
    if row is not None and (row.a is None or row.b is None):
        row = None
    if source is None:
        return _decide_two_way_gone(target, row, side=side, policy=policy, alive=alive)
    if target is None:
        decision = _decide_two_way_only_here(source, row, side=side, policy=policy, alive=alive)
    else:
        decision = _decide_two_way_both(
            source, target, row, side=side, policy=policy, skew_ms=skew_ms
        )
    if decision.action in (Action.CREATE, Action.UPDATE):
        reason = _unusable_acl(source)
        if reason is not None:
            return Decision(Action.SKIP, reason=reason)
    return decision


def _decide_two_way_gone(
    target: View | None, row: Row | None, *, side: Side, policy: Policy, alive: bool
) -> Decision:
    if target is None:
        return Decision(Action.FORGET if row is not None else Action.NOTHING)
    if row is None or alive:
        return Decision(Action.YIELD)
    if not _differs_from_base(target, row):
        # One that stays though it was deleted here, too: perhaps nothing is below it any more.
        return Decision(Action.DELETE if not row.is_gone(side.other) else Action.YIELD)
    if row.is_kept:
        # Written anew since it was deleted.
        return Decision(Action.YIELD)
    choice = choose_deleted(policy, side)
    return _settled(choice, side, Decision(Action.DELETE, conflict="changed-by-other"))


def _decide_two_way_only_here(
    source: View, row: Row | None, *, side: Side, policy: Policy, alive: bool
) -> Decision:
    create = Decision(Action.CREATE, data=True, acl=True)
    if row is None:
        return create
    if row.is_kept:
        stays = row.is_gone(side.other) and not _differs_from_base(source, row)
        return Decision(Action.NOTHING) if stays else create
    if alive:
        why = "new children keep their parent"
        return replace(create, conflict="deleted-above-new-children", why=why)
    if not _differs_from_base(source, row):
        return Decision(Action.YIELD)
    choice = choose_deleted(policy, side.other)
    return _settled(choice, side, replace(create, conflict="deleted-by-other"))


def _decide_two_way_both(  # noqa: PLR0913 - as `decide_two_way`
    source: View,
    target: View,
    row: Row | None,
    *,
    side: Side,
    policy: Policy,
    skew_ms: float | None,
) -> Decision:
    data = source.data_hash != target.data_hash
    acl = not same_acl(source.acl, target.acl)
    if not data and not acl:
        known = row is not None and (row.stamp(side), row.stamp(side.other))
        is_known = known == (source.stamp, target.stamp)
        return Decision(Action.NOTHING if is_known else Action.MERGE)
    update = Decision(Action.UPDATE, data=data, acl=acl)
    if row is not None and not _differs_from_base(target, row):
        return update
    if row is not None and not _differs_from_base(source, row):
        return Decision(Action.YIELD)
    a, b = (source, target) if side is Side.A else (target, source)
    choice = choose(policy, a.mtime, b.mtime, data_differs=data, skew_ms=skew_ms)
    conflict = "different-without-base" if row is None else "changed-by-both"
    return _settled(choice, side, replace(update, conflict=conflict))


def _settled(choice: Choice, side: Side, act: Decision) -> Decision:
    """What a worker does about a conflict that was settled, or was not."""
    if choice.winner is side:
        return replace(act, why=choice.why)
    if choice.winner is not None:
        return Decision(Action.YIELD)
    action = Action.ASK if choice.ask_hook else Action.HOLD
    return replace(act, action=action, why=choice.why)


def hold_conflict(decision: Decision, policy: Policy, *, source: Side) -> Decision:
    """The decision of a subtree that is copied one way, where conflicts may wait for an operator.

    Creating again what somebody deleted loses nothing but the deletion; that waits too.
    """
    if decision.conflict is None or policy.resolved is source:
        return decision
    if decision.action not in (Action.CREATE, Action.UPDATE, Action.DELETE):
        return decision
    of_delete = decision.action is not Action.UPDATE
    waits = (
        policy.delete_vs_update is DeleteConflict.MANUAL
        if of_delete
        else policy.on_conflict is Conflict.MANUAL
    )
    return replace(decision, action=Action.HOLD, why="manual") if waits else decision


def _unusable_acl(source: View) -> str | None:
    """Why an ACL must not be written to the other side; None if it may."""
    if is_unreadable(source.acl):
        return "acl-masked"
    return "original-acl-unknown" if is_fenced(source.acl) else None


def _decide_gone(target: View | None, row: Row | None, *, owner: Side, trusted: bool) -> Decision:
    if target is None:
        return Decision(Action.FORGET if row is not None else Action.NOTHING)
    if target.ephemeral:
        return Decision(Action.SKIP, reason="ephemeral")
    if row is None:
        if not trusted:
            return Decision(Action.KEEP, reason="owner-unknown")
        return Decision(Action.DELETE, conflict="created-by-other")
    if row.stamp(owner) is None:
        return Decision(Action.NOTHING, reason="owner-unknown")
    changed = _differs_from_base(target, row)
    return Decision(Action.DELETE, conflict="changed-by-other" if changed else None)


def _decide_both(source: View, target: View, row: Row | None, *, owner: Side) -> Decision:
    data = source.data_hash != target.data_hash
    acl = not same_acl(source.acl, target.acl)
    if not data and not acl:
        if row is not None and (row.stamp(owner), row.stamp(owner.other)) == (
            source.stamp,
            target.stamp,
        ):
            return Decision(Action.NOTHING)
        return Decision(Action.MERGE)
    conflict: str | None = None
    if row is None or row.stamp(owner) is None:
        conflict = "different-without-base"
    elif _differs_from_base(target, row):
        conflict = "changed-by-other"
    return Decision(Action.UPDATE, data=data, acl=acl, conflict=conflict)


def _differs_from_base(target: View, row: Row) -> bool:
    # Written by another with the same content is no loss.
    return target.data_hash != row.data_hash or not same_acl(target.acl, row.acl)


def is_mass_delete(deletes: int, base_rows: int, *, share_max: float, deletes_min: int) -> bool:
    """Whether so many deletes look like a source that lost its data instead."""
    return deletes > deletes_min and deletes > base_rows * share_max
