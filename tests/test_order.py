"""Each worker begins with what takes longest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.order import longest_first, parts

Test = tuple[int, float, str]


def ordered(tests: list[Test], workers: int) -> list[Test]:
    return longest_first(
        tests,
        workers,
        bound_s=lambda test: test[1],
        takes_turns=lambda test: "turns" in test[2],
        shares=lambda test: "shares" in test[2],
        slow_s=1000.0,
    )


def test_turns_are_the_first_workers_and_other_slow_ones_are_shared() -> None:
    quick = [(n, 10.0, "") for n in range(12)]
    turns = [(n, 1200.0, "turns") for n in range(20, 23)]
    slow = [(30, 1000.0, ""), (31, 1800.0, "")]

    first, second = (
        ordered([*quick, *turns, *slow], 2)[:8],
        ordered([*quick, *turns, *slow], 2)[8:],
    )

    assert first[:4] == [*turns, slow[0]]
    assert second[0] == slow[1]


def test_each_worker_begins_with_a_slow_one_where_there_are_as_many() -> None:
    tests = [*((n, 0.0, "") for n in range(10)), *((n, 1000.0, "") for n in range(50, 53))]

    result = ordered(tests, 3)

    begins = [0, 4, 8]
    assert parts(13, 3) == [4, 4, 5]
    assert [result[at][0] for at in begins] == [50, 51, 52]


def test_those_that_share_something_dear_are_one_workers_behind_its_slow_ones() -> None:
    quick = [(n, 10.0, "") for n in range(12)]
    sharing = [(n, 300.0, "shares") for n in range(40, 43)]
    slow = [(30, 1000.0, ""), (31, 1800.0, "")]

    result = ordered([*sharing[:2], *quick, sharing[2], *slow], 2)

    assert parts(len(result), 2)[0] == 8
    assert result[:1] == [slow[1]]
    assert result[8:12] == [slow[0], *sharing]


def test_turns_that_share_something_dear_come_first_one_after_another() -> None:
    turns = [(n, 1200.0, "turns shares" if n in {21, 23} else "turns") for n in range(20, 25)]

    result = ordered([*turns, *((n, 10.0, "") for n in range(12))], 2)

    assert [test[0] for test in result[:5]] == [21, 23, 20, 22, 24]


def test_turns_that_may_take_longest_come_first() -> None:
    turns = [(20, 1100.0, "turns"), (21, 1200.0, "turns"), (22, 1200.0, "turns")]

    result = ordered([*turns, *((n, 10.0, "") for n in range(12))], 2)

    assert [test[0] for test in result[:3]] == [21, 22, 20]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 1000.0, 1800.0]),
            st.sampled_from(["", "turns", "shares", "turns shares"]),
        ),
        max_size=40,
    ),
    st.integers(1, 5),
)
def test_no_test_is_lost_or_doubled_and_quick_ones_keep_their_order(
    drawn: list[tuple[float, str]], workers: int
) -> None:
    tests = [(at, bound, kind) for at, (bound, kind) in enumerate(drawn)]

    result = ordered(tests, workers)

    assert sorted(result) == tests
    quick = [test for test in tests if test[1] < 1000 and not test[2]]
    assert [test for test in result if test in quick] == quick
