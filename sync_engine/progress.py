"""How far a long work is, told to whoever shows it. No I/O."""

from __future__ import annotations


class Progress:
    """Listens and shows nothing; what draws a bar overrides it."""

    def expect(self, total: int, what: str = "") -> None:
        """A pass begins anew, over about so many znodes; 0 where nobody knows. `what` it is over,
        where there are several."""

    def advance(self, count: int) -> None:
        """So many further znodes of the pass are done."""


SILENT = Progress()
