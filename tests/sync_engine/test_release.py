"""Which of the znodes that stay on their owner's side are copied, as values."""

from __future__ import annotations

import pytest

from sync_engine.release import to_copy
from sync_engine.znode import Stat


def stat(children: int) -> Stat:
    """Of a znode with so many children."""
    return Stat(1, 1, 1, 1, 0, 0, 0, 0, 0, children, 1)


@pytest.mark.parametrize(
    ("children", "expected"),
    [
        ({}, []),
        ({"/x": 0}, ["/x"]),
        ({"/x": 1}, []),
        # All that is below it stays for nothing any more, either; parents go first.
        ({"/x/y/z": 0, "/x/y": 1, "/x": 1}, ["/x", "/x/y", "/x/y/z"]),
        # Something left out beside what stays keeps both, and all that is below them.
        ({"/x/y/z": 0, "/x/y": 1, "/x": 2}, []),
        ({"/x/y": 0, "/x/z": 1, "/x": 2, "/w": 0}, ["/w"]),
        # The root of the subtree has an empty path.
        ({"": 1, "/x": 0}, ["", "/x"]),
        ({"": 2, "/x": 0}, []),
    ],
)
def test_what_nothing_left_out_is_below_is_copied_parents_first(
    children: dict[str, int], expected: list[str]
) -> None:
    assert to_copy({rel: stat(count) for rel, count in children.items()}) == expected


def test_what_is_gone_there_too_is_looked_at_and_holds_nothing_up() -> None:
    assert to_copy({"/x": stat(0), "/x/y": None}) == ["/x", "/x/y"]
