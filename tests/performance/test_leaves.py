"""Where writes go, and which leaves are watched."""

from __future__ import annotations

import pytest

from tests.performance import leaves


@pytest.mark.parametrize("count", [500, 1_000, 10_000])
def test_every_leaf_has_its_turn_before_any_has_another(count: int) -> None:
    visited = {leaves.leaf_of(number, count) for number in range(1, count + 1)}

    assert visited == set(range(count))
    assert leaves.leaf_of(1, count) == leaves.leaf_of(count + 1, count)


def test_data_tells_its_write() -> None:
    data = leaves.encode(123)

    assert len(data) == leaves.BYTES
    assert leaves.decode(data) == 123
    assert leaves.decode(None) is None
    assert leaves.decode(b"other") is None


@pytest.mark.parametrize(("share", "folders"), [(1.0, 100), (0.05, 5), (0.001, 1), (7.0, 100)])
def test_a_sample_is_spread_and_holds_the_last_folder(share: float, folders: int) -> None:
    chosen = leaves.sample(10_000, share)

    assert len(set(chosen)) == folders
    assert chosen[-1] == 99
    assert len(leaves.in_folders(chosen, 10_000)) == folders * leaves.FOLDER_LEAVES


def test_paths_group_leaves_in_folders() -> None:
    assert leaves.folders(201) == 3
    assert leaves.leaf_path("/r", 201) == "/r/d0002/n01"
    assert leaves.in_folders([2], 250) == list(range(200, 250))
