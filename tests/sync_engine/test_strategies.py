"""Laws of conflicts: who wins, and that both workers of a subtree come to one answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_engine.acl_fence import is_fenced, is_unreadable
from sync_engine.decide import Action, Decision, View, decide, decide_two_way, hold_conflict
from sync_engine.direction import Side
from sync_engine.rows import Row, Stamp, data_hash
from sync_engine.strategy import Conflict, DeleteConflict, Policy, choose, choose_deleted
from sync_engine.znode import WORLD_ALL, Acl
from tests.sync_engine.test_decisions import acls, hashes, rows, sides, stamps

views = st.builds(View, stamps, hashes, acls, mtime=st.integers(0, 10_000))
maybe_rows = st.none() | rows
policies = st.builds(
    Policy,
    owner=sides,
    on_conflict=st.sampled_from(Conflict),
    delete_vs_update=st.sampled_from(DeleteConflict),
    both=st.just(True),
    clock_skew_max_ms=st.just(500.0),
)
skews = st.none() | st.floats(-1_000, 1_000)
_WRITES = {Action.CREATE, Action.UPDATE, Action.DELETE}


@given(
    a=st.none() | views,
    b=st.none() | views,
    row=maybe_rows,
    policy=policies,
    skew=skews,
    alive=st.booleans(),
)
def test_one_worker_acts_and_the_other_yields_or_both_do_the_same(
    *,
    a: View | None,
    b: View | None,
    row: Row | None,
    policy: Policy,
    skew: float | None,
    alive: bool,
) -> None:
    pair = _both(a, b, row, policy, skew, alive=alive)
    actions = {decision.action for decision in pair}
    if actions & _WRITES:
        assert Action.YIELD in actions
        assert len(actions & _WRITES) == 1
    else:
        assert len(actions) == 1
        assert Action.YIELD not in actions


@given(st.none() | views, st.none() | views, maybe_rows, policies, skews)
def test_nobodys_change_is_lost_without_a_recorded_conflict(
    a: View | None, b: View | None, row: Row | None, policy: Policy, skew: float | None
) -> None:
    pair = _both(a, b, row, policy, skew)
    for source, target, decision in ((a, b, pair[0]), (b, a, pair[1])):
        if decision.action not in _WRITES or decision.conflict is not None:
            continue
        # Without a conflict only what the base knows is overwritten or deleted.
        if target is not None:
            assert row is not None
            assert _content(target) == (row.data_hash, frozenset(row.acl))
        if source is None:
            assert row is not None


@given(views, views, rows, policies, skews)
def test_change_of_one_side_alone_is_copied_whatever_the_strategy(
    a: View, b: View, row: Row, policy: Policy, skew: float | None
) -> None:
    b = replace(b, data_hash=row.data_hash, acl=row.acl)
    one, two = _both(a, b, row, policy, skew)
    if _content(a) != _content(b):
        assert (one.action, one.conflict, two.action) == (Action.UPDATE, None, Action.YIELD)


@given(st.none() | views, st.none() | views, maybe_rows, sides, sides)
def test_operators_choice_wins_every_conflict(
    a: View | None, b: View | None, row: Row | None, owner: Side, winner: Side
) -> None:
    manual = Policy(owner, Conflict.MANUAL, DeleteConflict.MANUAL, both=True)
    held = _both(a, b, row, manual, None)
    pair = dict(zip(Side, _both(a, b, row, replace(manual, resolved=winner), None), strict=True))
    if held[0].action is Action.HOLD:
        assert pair[winner].action in _WRITES
        assert pair[winner.other].action is Action.YIELD
    else:
        assert tuple(pair.values()) == held


@given(st.none() | views, st.none() | views, maybe_rows, sides, st.booleans())
def test_manual_holds_what_one_way_would_overwrite(
    a: View | None, b: View | None, row: Row | None, owner: Side, trusted: bool
) -> None:
    policy = Policy(owner, Conflict.MANUAL, DeleteConflict.MANUAL)
    source, target = (a, b) if owner is Side.A else (b, a)
    plain = decide(source, target, row, owner=owner, trusted=trusted)
    held = hold_conflict(plain, policy, source=owner)
    if plain.conflict is not None and plain.action in _WRITES:
        assert held.action is Action.HOLD
        other = replace(policy, resolved=owner.other)
        assert hold_conflict(plain, other, source=owner).action is Action.HOLD
        assert hold_conflict(plain, replace(policy, resolved=owner), source=owner) == plain
    else:
        assert held == plain
    assert hold_conflict(plain, Policy(owner), source=owner) == plain


@pytest.mark.parametrize(
    ("a", "b", "skew", "winner", "why"),
    [
        (1_000, 2_000, 0.0, Side.B, "latest"),
        (2_000, 1_000, 20.0, Side.A, "latest"),
        (1_000, 2_000, None, Side.A, "nobody knows yet"),
        (1_000, 2_000, 600.0, Side.A, "clocks differ by 600 ms"),
        (1_000, 2_000, -600.0, Side.A, "clocks differ by 600 ms"),
        (1_000, 1_050, -60.0, Side.A, "50 ms apart"),
        (1_000, 1_000, 0.0, Side.A, "0 ms apart"),
    ],
)
def test_latest_believes_no_clock_further_than_it_was_measured(
    a: int, b: int, skew: float | None, winner: Side, why: str
) -> None:
    policy = Policy(Side.A, Conflict.LATEST, both=True, clock_skew_max_ms=500)
    choice = choose(policy, a, b, data_differs=True, skew_ms=skew)
    assert choice.winner is winner
    assert why in choice.why


@pytest.mark.parametrize(
    ("strategy", "winner"),
    [
        (DeleteConflict.OWNER, Side.A),
        (DeleteConflict.UPDATE, Side.A),
        (DeleteConflict.DELETE, Side.B),
        (DeleteConflict.MANUAL, None),
    ],
)
def test_deletion_against_update_has_a_strategy_of_its_own(
    strategy: DeleteConflict, winner: Side | None
) -> None:
    policy = Policy(Side.A, Conflict.B, strategy, both=True)
    assert choose_deleted(policy, deleted=Side.B).winner is winner


@pytest.mark.parametrize("strategy", [Conflict.MERGE, Conflict.LATEST])
def test_owner_wins_where_only_acls_differ(strategy: Conflict) -> None:
    policy = Policy(Side.B, strategy, both=True, clock_skew_max_ms=500)
    assert choose(policy, 1, 9_999, data_differs=False, skew_ms=0).winner is Side.B


def test_new_children_keep_their_parent() -> None:
    stamp = Stamp(1, 1, 0, 0)
    here = View(stamp, data_hash(b"x"), WORLD_ALL)
    row = Row(stamp, stamp, here.data_hash, here.acl)
    policy = Policy(Side.A, delete_vs_update=DeleteConflict.DELETE, both=True)
    a, b = _both(None, here, row, policy, None, alive=True)
    assert (a.action, b.action) == (Action.YIELD, Action.CREATE)
    assert b.conflict == "deleted-above-new-children"


def test_masked_acl_is_copied_neither_way() -> None:
    masked = View(Stamp(1, 1, 0, 0), data_hash(b"x"), (Acl(31, "digest", "user:x"),))
    policy = Policy(Side.A, both=True)
    assert decide_two_way(masked, None, None, side=Side.A, policy=policy).action is Action.SKIP


def _both(
    a: View | None,
    b: View | None,
    row: Row | None,
    policy: Policy,
    skew: float | None,
    *,
    alive: bool = False,
) -> tuple[Decision, Decision]:
    """What the workers of side a and of side b decide."""
    for view in (a, b):
        assert view is None or not (is_unreadable(view.acl) or is_fenced(view.acl))
    alive = alive and (a is None) != (b is None)
    return (
        decide_two_way(a, b, row, side=Side.A, policy=policy, skew_ms=skew, alive=alive),
        decide_two_way(b, a, row, side=Side.B, policy=policy, skew_ms=skew, alive=alive),
    )


def _content(view: View) -> tuple[bytes, frozenset[Acl]]:
    return view.data_hash, frozenset(view.acl)
