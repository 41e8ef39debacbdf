"""Laws of what is decided without any I/O."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_engine import checkpoint, numbering, transaction
from sync_engine.acl_fence import MARKER, fence, fence_for_all, is_fenced
from sync_engine.checkpoint import Intent, Kind, Record
from sync_engine.decide import Action, Decision, View, assumed, decide, is_mass_delete
from sync_engine.direction import Roots, Side
from sync_engine.errors import EngineRefusedError, StateError
from sync_engine.health import Facts, assess
from sync_engine.lag import BOUNDS_MS, LagMeter, quantile
from sync_engine.report import EngineState
from sync_engine.rows import Row, Stamp, data_hash, decode_acl, encode_acl
from sync_engine.znode import PERM_READ, WORLD_ALL, Acl, Stat, Znode

acls = st.lists(
    st.builds(
        Acl,
        st.integers(1, 31),
        st.sampled_from(["world", "digest", "ip"]),
        st.sampled_from(["anyone", "user:hash=", "10.0.0.1"]),
    ),
    min_size=1,
    max_size=4,
    unique=True,
).map(tuple)
stamps = st.builds(
    Stamp,
    st.integers(1, 2**62),
    st.integers(1, 2**62),
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**31 - 1),
)
hashes = st.sampled_from([data_hash(None), data_hash(b""), data_hash(b"x")])
views = st.builds(View, stamps, hashes, acls)
rows = st.builds(Row, stamps, stamps, hashes, acls)
sides = st.sampled_from(Side)
intents = st.builds(
    Intent,
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20).map(lambda text: f"/{text}"),
    st.sampled_from(Kind),
    st.none() | stamps,
    st.none() | stamps,
    st.binary(min_size=16, max_size=16),
    acls,
)
records = st.builds(Record, st.integers(0, 2**62), sides, st.lists(intents, max_size=5).map(tuple))


@given(st.none() | views, st.none() | views, st.none() | rows, sides, st.booleans())
def test_target_has_the_sources_content_after_a_decision(
    source: View | None, target: View | None, row: Row | None, owner: Side, trusted: bool
) -> None:
    decision = decide(source, target, row, owner=owner, trusted=trusted)
    after = target
    if decision.action in (Action.CREATE, Action.UPDATE):
        assert source is not None
        base = target or replace(source, data_hash=b"", acl=())
        after = replace(
            base,
            data_hash=source.data_hash if decision.data else base.data_hash,
            acl=source.acl if decision.acl else base.acl,
        )
    elif decision.action is Action.DELETE:
        after = None
    if decision.action in (Action.KEEP, Action.SKIP):
        return
    if source is None or after is None:
        assert source is after
    else:
        assert source.data_hash == after.data_hash
        assert set(source.acl) == set(after.acl)


@given(st.none() | views, rows, sides)
def test_untouched_target_is_never_a_conflict(source: View | None, row: Row, owner: Side) -> None:
    assert decide(source, assumed(row, owner.other), row, owner=owner).conflict is None


@given(st.none() | views, views, rows, sides)
def test_foreign_content_is_never_overwritten_without_a_conflict(
    source: View | None, target: View, row: Row, owner: Side
) -> None:
    decision = decide(source, target, row, owner=owner)
    foreign = target.data_hash != row.data_hash or set(target.acl) != set(row.acl)
    if foreign and decision.action in (Action.UPDATE, Action.DELETE):
        assert decision.conflict == "changed-by-other"


@given(views, sides)
def test_nothing_is_left_to_do_after_a_row_was_written(source: View, owner: Side) -> None:
    target = replace(source, stamp=Stamp(1, 1, 0, 0))
    row = Row.of(owner, source.stamp, target.stamp, (source.data_hash, source.acl))
    assert decide(source, target, row, owner=owner).action is Action.NOTHING


@given(views, sides)
def test_without_a_trusted_base_nothing_is_deleted(target: View, owner: Side) -> None:
    assert decide(None, target, None, owner=owner, trusted=False).action is Action.KEEP


@given(views, sides)
def test_masked_acl_is_refused(source: View, owner: Side) -> None:
    masked = replace(source, acl=(Acl(31, "digest", "user:x"),))
    assert decide(masked, None, None, owner=owner).action is Action.SKIP


@pytest.mark.parametrize(
    ("deletes", "rows_", "stops"),
    [(20, 20, False), (21, 42, False), (21, 41, True), (600, 1000, True), (400, 1000, False)],
)
def test_mass_delete_is_more_than_a_share_and_more_than_a_few(
    deletes: int, rows_: int, stops: bool
) -> None:
    assert is_mass_delete(deletes, rows_, share_max=0.5, deletes_min=20) is stops


@given(acls)
def test_fenced_acl_is_recognised_readable_and_stable(acl: tuple[Acl, ...]) -> None:
    fenced = fence(acl)
    assert is_fenced(fenced)
    assert fence(fenced) == fenced
    assert MARKER in fenced
    assert all(entry.perms == PERM_READ for entry in fenced)
    readers = {(e.scheme, e.id) for e in acl if e.perms & PERM_READ}
    assert readers == {(e.scheme, e.id) for e in fenced if e != MARKER}
    assert Acl(PERM_READ, "world", "anyone") in fence_for_all(acl)


@given(acls)
def test_acl_survives_its_text(acl: tuple[Acl, ...]) -> None:
    assert decode_acl(encode_acl(acl)) == acl


@given(records)
def test_record_survives_its_slot(record: Record) -> None:
    assert checkpoint.decode(checkpoint.encode(record)) == record


@given(records, st.data())
def test_damaged_slot_is_refused(record: Record, data: st.DataObject) -> None:
    raw = checkpoint.encode(record)
    cut = data.draw(st.integers(1, len(raw) - 1))
    with pytest.raises(StateError):
        checkpoint.decode(raw[:cut])


@given(records, st.integers(2**62, 2**63 - 1))
def test_repair_after_a_crash_is_what_the_answer_would_have_written(
    record: Record, zxid: int
) -> None:
    after = checkpoint.rows_after(record, zxid)
    repaired = {k: v for k, v in checkpoint.repairs({}, record, zxid).items() if v is not None}
    assert repaired == {rel: row for rel, row in after.items() if row is not None}
    assert checkpoint.repairs(repaired, record, zxid) == {}


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_quantile_is_a_sample_that_covers_its_share(samples: list[float], q: float) -> None:
    ordered = sorted(samples)
    found = quantile(ordered, q)
    assert found in ordered
    assert sum(sample <= found for sample in ordered) >= q * len(ordered) - 1e-9


@given(st.lists(st.floats(0, 1e5)))
def test_histogram_counts_every_sample_at_or_below_its_bound(samples: list[float]) -> None:
    meter = LagMeter(lambda: 0.0)
    for sample in samples:
        meter.record(sample)
    histogram = meter.histogram()
    assert histogram["+Inf"] == len(samples)
    for bound in BOUNDS_MS:
        assert histogram[f"{bound:g}"] == sum(sample <= bound for sample in samples)


def test_samples_leave_the_window_after_a_minute() -> None:
    now = 0.0
    meter = LagMeter(lambda: now)
    meter.record(5)
    now = 59.0
    meter.record(7)
    assert meter.window() == [5, 7]
    now = 61.0
    assert meter.window() == [7]


@given(st.sets(st.integers(0, 30)), st.integers(0, 40), st.lists(st.integers(0, 10), max_size=5))
def test_projected_number_is_below_every_live_one_and_new(
    live: set[int], counter: int, history: list[int]
) -> None:
    own = history[-1] if history else None
    others = [n for n in live if n != own]
    try:
        number = numbering.choose(others, counter=counter, own=own, history=history)
    except EngineRefusedError:
        assert len(numbering.free_numbers(others, counter)) < 3
        return
    assert number < min([counter, *others])
    assert number != own


def test_numbers_rotate_through_all_that_are_free() -> None:
    history: tuple[int, ...] = ()
    own = None
    for expected in (0, 1, 2, 0, 1):
        own = numbering.choose([3], counter=9, own=own, history=history)
        history = numbering.remembered(history, own)
        assert own == expected


def test_leading_child_is_the_lowest_number_whatever_its_label() -> None:
    names = ["json.info_0000000010", "other_0000000009", "log_replicas", "plain"]
    assert numbering.lowest(names) == "other_0000000009"
    assert numbering.lowest(["log_replicas"]) is None


@given(sides, st.sampled_from(["", "/x", "/x/y"]))
def test_relative_paths_come_back(side: Side, rel: str) -> None:
    roots = Roots("/one", "/two/deep")
    assert roots.rel(side, roots.path(side, rel)) == rel
    assert roots.rel(side, "/onetwo") is None


def test_transactions_keep_order_and_size() -> None:
    def work(rel: str, action: Action, size: int = 0) -> transaction.Work:
        stat = Stat(1, 1, 0, 0, 0, 0, 0, 0, size, 0, 1)
        node = Znode(rel, b"x" * size, WORLD_ALL, stat)
        view = View(Stamp(1, 1, 0, 0), b"", WORLD_ALL)
        return transaction.Work(rel, node, view, view, None, Decision(action, data=True))

    works = [
        work("/a/b", Action.CREATE),
        work("/a", Action.CREATE),
        work("/c", Action.DELETE),
        work("/c/d", Action.DELETE),
        work("/e", Action.UPDATE, 5_000),
        work("/f", Action.UPDATE, 5_000),
    ]
    ordered = transaction.ordered(works)
    assert [w.rel for w in ordered] == ["/c/d", "/c", "/a", "/a/b", "/e", "/f"]
    found = transaction.batches(ordered, bytes_max=8_000, ops_max=3, path_bytes=10)
    assert [[w.rel for w in batch] for batch in found] == [
        ["/c/d", "/c", "/a"],
        ["/a/b", "/e"],
        ["/f"],
    ]


def test_state_names_the_worst_first() -> None:
    assert assess(Facts())[0] is EngineState.STARTING
    assert assess(Facts(started=True)) == (EngineState.LIVE, [])
    assert assess(Facts(started=True, copying=["x"]))[0] is EngineState.COPYING
    assert assess(Facts(started=True, troubles=["t"])) == (EngineState.DEGRADED, ["t"])
    assert assess(Facts(started=True, disconnected_s={Side.A: 1}))[0] is EngineState.DEGRADED
    assert assess(Facts(started=True, disconnected_s={Side.A: 9}))[0] is EngineState.STALLED
    patient = Facts(started=True, disconnected_s={Side.A: 9}, stall_after_s=10)
    assert assess(patient)[0] is EngineState.DEGRADED
    state, reasons = assess(Facts(started=True, stalled={"x": "many deletes"}, troubles=["t"]))
    assert (state, reasons[0]) == (EngineState.STALLED, "subtree x: many deletes")
    assert assess(Facts(started=True, fenced="taken"))[0] is EngineState.FENCED


def test_a_scanned_side_is_told_and_is_nothing_wrong() -> None:
    limit = "side a has no persistent watches"
    state, reasons = assess(Facts(started=True, limits=[limit]))
    assert (state, reasons) == (EngineState.DEGRADED, [limit])
    state, reasons = assess(Facts(started=True, limits=[limit], troubles=["trouble"]))
    assert (state, reasons) == (EngineState.DEGRADED, ["trouble", limit])
