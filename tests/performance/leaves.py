"""The tree that is written and watched, as values: where its leaves stand and what they hold. Pure.

`count` leaves stand in folders of a hundred. A leaf's data begins with the number of the write that
put it there, so whoever reads it knows which write it sees. Consecutive writes go to leaves far
apart, and a leaf's turn comes again only after all others had theirs.
"""

from __future__ import annotations

import struct

FOLDER_LEAVES = 100
BYTES = 256
"""Size of a leaf's data."""
SEEDED = 0
"""The number in a leaf that no write has reached yet; writes count from 1."""
# A prime that divides no count in use, so that its multiples visit every leaf.
_STRIDE = 7919
_number = struct.Struct(">q")


def folder_path(root: str, folder: int) -> str:
    """Path of a folder."""
    return f"{root}/d{folder:04d}"


def folders(count: int) -> int:
    """How many folders hold `count` leaves."""
    return -(-count // FOLDER_LEAVES)


def leaf_path(root: str, leaf: int) -> str:
    """Path of a leaf."""
    return f"{folder_path(root, leaf // FOLDER_LEAVES)}/n{leaf % FOLDER_LEAVES:02d}"


def leaf_of(number: int, count: int) -> int:
    """The leaf that a write goes to."""
    return number * _STRIDE % count


def encode(number: int) -> bytes:
    """The data of a write."""
    return _number.pack(number).ljust(BYTES, b".")


def decode(data: bytes | None) -> int | None:
    """The number of the write that data is from; None when it is from none."""
    return None if data is None or len(data) != BYTES else int(_number.unpack_from(data)[0])


def sample(count: int, share: float) -> list[int]:
    """About a share of all folders, evenly spread, the last among them: whoever copies a batch in
    the order of its paths reaches that one last."""
    whole = folders(count)
    kept = max(1, min(whole, round(whole * share)))
    return sorted(whole - 1 - index * whole // kept for index in range(kept))


def in_folders(chosen: list[int], count: int) -> list[int]:
    """The leaves of some folders."""
    first = [folder * FOLDER_LEAVES for folder in chosen]
    return [leaf for at in first for leaf in range(at, min(at + FOLDER_LEAVES, count))]
