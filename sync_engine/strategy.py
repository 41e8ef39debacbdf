"""Who wins a conflict, by the rules of its subtree. Pure.

Both sides are named by `a` and `b` and never by "ours" and "theirs", so that whichever of the two
workers of a subtree looks at a conflict comes to the same winner.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sync_engine.direction import Side


class Conflict(StrEnum):
    """Who wins when both sides changed one path."""

    OWNER = "owner"
    A = "a"
    B = "b"
    LATEST = "latest"
    """The later mtime, while both ensembles' clocks agree; the owner otherwise."""
    MANUAL = "manual"
    """Nobody, until an operator resolves it; neither side is overwritten meanwhile."""
    MERGE = "merge"
    """What a hook makes of both; nobody (as `manual`) when the hook fails."""


class DeleteConflict(StrEnum):
    """Who wins when one side deleted what the other changed."""

    OWNER = "owner"
    UPDATE = "update"
    DELETE = "delete"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the rules say of conflicts in one subtree."""

    owner: Side
    on_conflict: Conflict = Conflict.OWNER
    delete_vs_update: DeleteConflict = DeleteConflict.OWNER
    both: bool = False
    """Whether both sides' writes are copied."""
    clock_skew_max_ms: float = 0.0
    """Difference of the ensembles' clocks beyond which no mtime is believed."""
    resolved: Side | None = None
    """Whom an operator has chosen, whatever the rules say."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The winner and why. Without one the path waits for a hook, or for an operator."""

    winner: Side | None
    why: str
    ask_hook: bool = False


def default_delete_conflict(on_conflict: Conflict, *, both: bool) -> DeleteConflict:
    """What holds where the rules say nothing of deletes against updates."""
    if on_conflict is Conflict.MANUAL:
        return DeleteConflict.MANUAL
    return DeleteConflict.UPDATE if both else DeleteConflict.OWNER


def choose(
    policy: Policy, mtime_a: int, mtime_b: int, *, data_differs: bool, skew_ms: float | None
) -> Choice:
    """The winner where both sides have changed a path. Times are milliseconds.

    `skew_ms` is how much side b's clock is ahead of side a's, None while nobody knows.
    """
    if policy.resolved is not None:
        return Choice(policy.resolved, "resolved by an operator")
    rule = policy.on_conflict
    if rule in (Conflict.A, Conflict.B):
        return Choice(Side(rule.value), f"side {rule.value}")
    if rule is Conflict.MANUAL:
        return Choice(None, "manual")
    if not data_differs or rule is Conflict.OWNER:
        # A hook merges data, and a change of an ACL has no time.
        why = "owner" if data_differs else "owner: only the ACLs differ"
        return Choice(policy.owner, why)
    if rule is Conflict.MERGE:
        return Choice(None, "merge", ask_hook=True)
    return _latest(policy, mtime_a, mtime_b, skew_ms)


def _latest(policy: Policy, mtime_a: int, mtime_b: int, skew_ms: float | None) -> Choice:
    if skew_ms is None:
        return Choice(policy.owner, "owner: nobody knows yet how far the clocks differ")
    if abs(skew_ms) > policy.clock_skew_max_ms:
        return Choice(
            policy.owner,
            f"owner: the clocks differ by {abs(skew_ms):.0f} ms, more than "
            f"{policy.clock_skew_max_ms:.0f} ms",
        )
    apart = mtime_b - mtime_a
    # The measure is as rough as a round trip, and both times are whole milliseconds.
    if abs(apart) <= abs(skew_ms) + 1:
        return Choice(policy.owner, f"owner: {abs(apart)} ms apart is less than the clocks differ")
    later = Side.B if apart > 0 else Side.A
    return Choice(later, f"latest: {abs(apart)} ms later")


def choose_deleted(policy: Policy, deleted: Side) -> Choice:
    """The winner where one side deleted what the other has changed."""
    if policy.resolved is not None:
        return Choice(policy.resolved, "resolved by an operator")
    match policy.delete_vs_update:
        case DeleteConflict.OWNER:
            return Choice(policy.owner, "owner")
        case DeleteConflict.UPDATE:
            return Choice(deleted.other, "the update wins over the deletion")
        case DeleteConflict.DELETE:
            return Choice(deleted, "the deletion wins over the update")
        case DeleteConflict.MANUAL:
            return Choice(None, "manual")
