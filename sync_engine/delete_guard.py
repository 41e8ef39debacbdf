"""Whether so much vanished that the source may have lost its data: then an operator is asked.

An ensemble that was restarted empty looks like one whose clients deleted everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager

from sync_engine.context import Subtree
from sync_engine.decide import is_mass_delete

# A subtree of fewer znodes than this is its root alone.
_TREE_MIN = 2
# An operator's word is about what was seen when it was given; a large tree takes minutes to delete.
_CONFIRMED_S = 600.0

Stall = Callable[[str, Callable[[], None] | None], None]
"""Called with a reason, and with what an operator's word allows."""


class _Word:
    """An operator's word: it counts for a time that begins when it first counts."""

    def __init__(self) -> None:
        self._until: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it is young enough."""
        now = asyncio.get_running_loop().time()
        if self._until is None:
            self._until = now + _CONFIRMED_S
        return now < self._until


class DeleteGuard:
    """Counts one worker's deletes; `stall` is called with the reason when there are too many.

    An operator's word is about what was shown: a subtree that shrinks to some size. What vanished
    since then passes with it as long as it is no more than would pass without one; else it is
    shown in its turn.
    """

    def __init__(self, subtree: Subtree, stall: Stall) -> None:
        self._subtree = subtree
        self._stall = stall
        self._sizes = subtree.shared.sizes
        self._under_way: set[str] = set()
        # That the other side's clients made what is deleted.
        self._foreign_word: _Word | None = None
        # That the subtree may shrink, to the size that was shown.
        self._size_word: _Word | None = None
        self._size_min = 0

    def end_word(self) -> None:
        """What an operator's word was about is done."""
        if self._size_word is not None:
            self._sizes.forget()
        self._size_word = self._foreign_word = None

    def refuses_missing(self, missing: int) -> bool:
        """Stop for what a comparison did not find, if that is all there was, or too much of it."""
        size = self._size
        if self._is_confirmed(size - missing):
            return False
        return self._is_all(missing) or self._refuses(missing, size)

    def refuses_more(self, rels: Collection[str]) -> bool:
        """Stop if a round's deletes are too many, with those of the last minute.

        Counted is by how much the subtree shrinks, against its size a minute ago.
        """
        size, base = self._size, self._subtree.base
        before = self._sizes.note(size)
        if self._refuses_foreign(sum(rel not in base.rows for rel in rels)):
            return True
        deletes = sum(rel in base.rows and rel not in base.unowned for rel in rels)
        if not deletes:
            return False
        # What other rounds have deleted by now is no row any more.
        under_way = sum(rel in base.rows and rel not in base.unowned for rel in self._under_way)
        left = size - under_way - deletes
        if self._is_confirmed(left):
            self._sizes.forget()
            return False
        return self._refuses(before - left, before)

    def begin(self) -> None:
        """Count from now on: what the base holds by a first comparison was there before."""
        self._sizes.forget()
        self.note()

    def note(self) -> None:
        """Know how large the subtree is by now, whatever made it so."""
        self._sizes.note(self._size)

    @contextmanager
    def deleting(self, rels: Collection[str]) -> Generator[None]:
        """Count deletes as done that are under way."""
        self._under_way.update(rels)
        try:
            yield
        finally:
            self._under_way.difference_update(rels)
            if self._is_confirmed(self._size):
                # Nor does a twin, whose rounds come in between, count what the word is about.
                self._sizes.forget()
            # A round that creates, too: the next one may come much later.
            self.note()

    @property
    def _size(self) -> int:
        """Without what nobody knows of: that goes by a word of its own."""
        return len(self._subtree.base) - len(self._subtree.base.unowned)

    def _is_confirmed(self, left: int) -> bool:
        """Whether an operator's word is about a subtree that shrinks to this size."""
        if self._size_word is None or not self._size_word.holds:
            return False
        more = self._size_min - left
        return more <= self._size_min * self._subtree.tuning.delete_share_max

    def _is_all(self, missing: int) -> bool:
        subtree = self._subtree
        owner = subtree.owner
        rows = subtree.base.count_on(owner)
        if rows < _TREE_MIN or missing < rows or subtree.is_internal:
            return False
        self._ask(
            f"side {owner.value} holds nothing of the {rows} znodes that it had",
            self._size - missing,
        )
        return True

    def _refuses(self, deletes: int, rows: int) -> bool:
        if not self._is_mass(deletes, rows):
            return False
        owner = self._subtree.owner
        self._ask(f"{deletes} of {rows} znodes are gone on side {owner.value}", rows - deletes)
        return True

    def _is_mass(self, deletes: int, rows: int) -> bool:
        tuning = self._subtree.tuning
        return is_mass_delete(
            deletes, rows, share_max=tuning.delete_share_max, deletes_min=tuning.delete_count_free
        )

    def _refuses_foreign(self, deletes: int) -> bool:
        """Stop for what has no row: clients of the other side made it, and the owner never had it.

        The subtree does not shrink by it, and no comparison finds it: one word is for all of it.
        """
        subtree, size = self._subtree, self._size
        if not self._is_mass(deletes, size):
            return False
        if self._foreign_word is not None and self._foreign_word.holds:
            return False

        def confirm() -> None:
            self._foreign_word = _Word()

        owner, other = subtree.owner.value, subtree.owner.other.value
        self._stall(
            f"at least {deletes} znodes are on side {other} that side {owner}, with {size}, never "
            f"had: if they may be deleted, confirm; if not, create them on side {owner} before",
            confirm,
        )
        return True

    def _ask(self, what: str, left: int) -> None:
        """Stop until an operator says that the subtree may shrink to this size."""

        def confirm() -> None:
            self._size_min, self._size_word = left, _Word()

        self._stall(
            f"{what}: if its clients deleted them, confirm; if the ensemble lost its data, "
            "restore it first",
            confirm,
        )
