"""Paths that are known to have changed, and what is known of each. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class Dirty:
    """Why a path is to be looked at. Forced: the target is read too, not assumed."""

    heard_at: float | None
    forced: bool = False
    zxid: int = 0
    """The highest that an event told; a read must not be older."""
    is_undated: bool = False
    """Whether an event told none."""

    def take_in(self, other: Dirty) -> None:
        """Know also what another note knows; the time is not changed."""
        self.forced |= other.forced
        self.zxid = max(self.zxid, other.zxid)
        self.is_undated |= other.is_undated


class DirtySet:
    """Dirty paths in the order in which they were first heard of."""

    def __init__(self, paths_max: int) -> None:
        self._paths_max = paths_max
        self._paths: dict[str, Dirty] = {}

    def __len__(self) -> int:
        return len(self._paths)

    def add(self, rel: str, dirty: Dirty) -> bool:
        """Note a path; False, and nothing kept, where there are more than fit."""
        known = self._paths.get(rel)
        if known is not None:
            known.take_in(dirty)
        elif len(self._paths) >= self._paths_max:
            self._paths.clear()
            return False
        else:
            self._paths[rel] = dirty
        return True

    def take(self, count: int) -> dict[str, Dirty]:
        """Take the oldest paths out."""
        taken = dict(list(self._paths.items())[:count])
        for rel in taken:
            del self._paths[rel]
        return taken

    def put_back(self, taken: Mapping[str, Dirty]) -> None:
        """Note again what was taken out; a path heard of since keeps the older time."""
        for rel, dirty in taken.items():
            newer = self._paths.setdefault(rel, dirty)
            newer.take_in(dirty)
            if dirty.heard_at is not None:
                newer.heard_at = dirty.heard_at

    def clear(self) -> None:
        """Forget all."""
        self._paths.clear()
