"""Paths that are known to have changed, and what is known of each. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice


@dataclass(slots=True)
class Dirty:
    """Why a path is to be looked at. Forced: the target is read too, not assumed."""

    heard_at: float | None
    forced: bool = False
    zxid: int = 0
    """The highest that an event told; a read must not be older."""
    is_undated: bool = False
    """Whether an event told none."""
    oldest: int = 0
    """The zxid of the first change that is not applied; 0 where nobody knows."""

    def take_in(self, other: Dirty) -> None:
        """Know also what another note knows; the time is not changed."""
        self.forced |= other.forced
        self.zxid = max(self.zxid, other.zxid)
        self.is_undated |= other.is_undated
        self.oldest = min(self.oldest, other.oldest)


class Footprint:
    """Paths that are taken, and what is too close to them."""

    def __init__(self) -> None:
        self._paths: set[str] = set()
        self._parents: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._paths)

    def add(self, rels: Iterable[str]) -> None:
        """Take paths that are not taken."""
        for rel in rels:
            self._paths.add(rel)
            self._parents[_above(rel)] += 1

    def remove(self, rels: Iterable[str]) -> None:
        """Give taken paths back."""
        for rel in rels:
            self._paths.remove(rel)
            above = _above(rel)
            self._parents[above] -= 1
            if not self._parents[above]:
                del self._parents[above]

    def meets(self, rel: str) -> bool:
        """Whether a path, the one above or one right below it is taken."""
        return rel in self._paths or rel in self._parents or _above(rel) in self._paths


def _above(rel: str) -> str:
    return rel.rpartition("/")[0]


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

    def take(self, count: int, *, apart_from: Footprint) -> dict[str, Dirty]:
        """Take the oldest paths out that are not close to others under way."""
        if apart_from:
            taken = self._apart(count, apart_from)
        else:
            taken = dict(islice(self._paths.items(), count))
        for rel in taken:
            del self._paths[rel]
        return taken

    def _apart(self, count: int, others: Footprint) -> dict[str, Dirty]:
        taken: dict[str, Dirty] = {}
        # What is close to a path that has to wait waits behind it.
        waiting = Footprint()
        for rel, dirty in self._paths.items():
            if others.meets(rel) or waiting.meets(rel):
                waiting.add((rel,))
            else:
                taken[rel] = dirty
            if count in (len(taken), len(waiting)):
                break
        return taken

    def put_back(self, taken: Mapping[str, Dirty]) -> None:
        """Note again what was taken out, or what a comparison would only find again, however many;
        a path heard of since keeps the older time."""
        for rel, dirty in taken.items():
            newer = self._paths.setdefault(rel, dirty)
            newer.take_in(dirty)
            if dirty.heard_at is not None:
                newer.heard_at = dirty.heard_at

    def oldest(self) -> int | None:
        """The zxid of the first change of any path, as in `Dirty`; None where there is none."""
        return min((dirty.oldest for dirty in self._paths.values()), default=None)

    def clear(self) -> None:
        """Forget all."""
        self._paths.clear()
