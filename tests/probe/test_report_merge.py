"""Merging reports: the laws, and what they give."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from probe.report import merge as m
from probe.report.ledger import Ledger
from probe.report.merge import Claim, Field, Report, Standing, Version
from probe.report.mirror import Mirror
from tests.probe.properties import patient

LEASE_MS = 1_000
VERSIONS = st.builds(Version, st.integers(0, 2), st.integers(0, 4))
FIELDS = st.builds(Field, VERSIONS, st.integers(0, 3), st.none() | st.integers(0, 3) | st.just("x"))
CLAIMS = st.builds(
    Claim, VERSIONS, st.booleans(), st.dictionaries(st.sampled_from("ab"), FIELDS, max_size=2)
).map(
    lambda c: Claim(c.since, c.alive, {n: f for n, f in c.fields.items() if f.version >= c.since})
)
STANDINGS = st.builds(Standing, VERSIONS, VERSIONS, st.integers(0, 3))
PROBES: tuple[str, ...] = ("p", "q")


@st.composite
def reports(draw: st.DrawFn) -> Report:
    standings = {probe: draw(STANDINGS) for probe in PROBES}
    keys = st.sampled_from([("host", "h"), ("process", "1")])
    words = st.dictionaries(st.sampled_from(PROBES), CLAIMS, min_size=1, max_size=2)
    return Report(standings, draw(st.dictionaries(keys, words, max_size=2)))


@patient
@given(reports(), reports(), reports())
def test_merging_is_associative(a: Report, b: Report, c: Report) -> None:
    assert m.merge(m.merge(a, b), c) == m.merge(a, m.merge(b, c))


@patient
@given(reports(), reports())
def test_merging_is_commutative(a: Report, b: Report) -> None:
    assert m.merge(a, b) == m.merge(b, a)


@patient
@given(reports(), reports())
def test_merging_is_idempotent(a: Report, b: Report) -> None:
    assert m.merge(a, a) == a
    both = m.merge(a, b)
    assert m.merge(both, b) == both


IDS = ["x", "y", "z"]
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "remove", "snapshot"]),
        st.sampled_from(IDS),
        st.sampled_from(["name", "cpus"]),
        st.integers(0, 9),
    ),
    max_size=25,
)


def run(acts: list[Any]) -> tuple[dict[str, dict[str, Any]], list[Report]]:
    """What a probe holds in the end, and what each of its frames said."""
    ledger, mirror = Ledger("p", 1), Mirror()
    ledger.delta(0, LEASE_MS)
    said = [mirror.apply(ledger.snapshot(0, LEASE_MS))]
    for time_ms, (act, id_, column, number) in enumerate(acts):
        match act:
            case "put":
                value = str(number) if column == "name" else number
                ledger["host"].put(id_, **{column: value})
            case "remove":
                ledger["host"].remove(id_)
            case _:
                said.append(mirror.apply(ledger.snapshot(time_ms, LEASE_MS)))
        said.append(mirror.apply(ledger.delta(time_ms, LEASE_MS)))
    held = {id_: dict(values) for id_, values in ledger["host"]}
    return held, [m.of(change) for change in said if change is not None]


def shown(report: Report, now_ms: int = 0) -> dict[str, dict[str, Any]]:
    nodes = {key[1]: m.node(said, report.probes, now_ms) for key, said in report.claims.items()}
    return {id_: dict(node.values) for id_, node in nodes.items() if node is not None}


@patient
@given(ACTS, st.randoms(use_true_random=False))
def test_frames_merged_in_any_order_show_what_the_probe_holds(acts: list[Any], order: Any) -> None:
    held, said = run(acts)
    order.shuffle(said)
    merged = Report()
    for one in (*said, *said[:3]):
        merged = m.merge(merged, one)

    assert shown(merged) == held
    assert shown(m.forget(merged, 0)) == held


def world(*probes: tuple[str, int, dict[str, Any]]) -> Report:
    """Probes that each tell of host h at a time."""
    merged = Report()
    for name, time_ms, values in probes:
        ledger, mirror = Ledger(name, 1), Mirror()
        ledger["host"].put("h", **values)
        ledger.delta(time_ms, LEASE_MS)
        change = mirror.apply(ledger.snapshot(time_ms, LEASE_MS))
        assert change is not None
        merged = m.merge(merged, m.of(change))
    return merged


def test_of_two_probes_the_word_told_last_is_shown() -> None:
    merged = world(("p", 100, {"name": "old", "cpus": 2}), ("q", 200, {"name": "new"}))
    node = m.node(merged.claims["host", "h"], merged.probes, 300)

    assert node is not None
    assert node.values == {"name": "new", "cpus": 2}
    assert node.probes == {"p", "q"}


def test_a_node_stays_as_stale_when_its_lease_has_run_out() -> None:
    merged = world(("p", 100, {"name": "a"}))
    before = m.node(merged.claims["host", "h"], merged.probes, 1_100)
    after = m.node(merged.claims["host", "h"], merged.probes, 1_101)

    assert before is not None
    assert after is not None
    assert not before.is_stale
    assert after.is_stale
    assert after.values == {"name": "a"}


def test_a_probe_that_has_gone_is_outvoted_by_one_that_lives() -> None:
    merged = world(("gone", 100, {"name": "wrong", "cpus": 9}), ("here", 5_000, {"name": "right"}))
    node = m.node(merged.claims["host", "h"], merged.probes, 5_500)

    assert node is not None
    assert node.values == {"name": "right"}
    assert node.probes == {"here"}


def test_what_ran_out_long_ago_can_be_forgotten() -> None:
    merged = m.forget(world(("gone", 100, {}), ("here", 5_000, {})), before_ms=4_000)

    assert merged.probes.keys() == {"here"}
    assert merged.claims["host", "h"].keys() == {"here"}
