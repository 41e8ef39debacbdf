"""Ports as ranges."""

from __future__ import annotations

from stacks.local.mesos import ports


def test_ranges_that_touch_become_one() -> None:
    assert ports.merge([(5, 6), (1, 2), (3, 4), (9, 9)]) == ((1, 6), (9, 9))


def test_what_is_taken_out_leaves_a_gap() -> None:
    assert ports.subtract(((1, 10),), ((3, 4), (10, 12))) == ((1, 2), (5, 9))
    assert ports.subtract(((1, 2),), ((1, 2),)) == ()
    assert ports.subtract(((5, 6),), ((1, 2), (8, 9))) == ((5, 6),)


def test_containment_is_of_whole_ranges() -> None:
    assert ports.contains(((1, 10),), ((2, 3), (10, 10)))
    assert not ports.contains(((1, 2), (4, 5)), ((2, 4),))


def test_ranges_go_to_a_resource_and_back() -> None:
    made = ports.resource(((1, 2), (4, 4)), role="dev")
    assert ports.of([made]) == ((1, 2), (4, 4))
    assert made["allocation_info"] == {"role": "dev"}
    assert ports.text(((1, 2),)) == "[1-2]"
    assert ports.text(()) is None
