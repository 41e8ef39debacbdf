"""Who told of which node last, where several may tell of the same.

An agent that leaves one cluster's leader for another's is told of by the other one from then on. A
node goes when nobody claims it any more, at the end of a look: in the middle of one it may be on
its way from one to the other.
"""

from __future__ import annotations

from collections.abc import Iterable

from probe.report.ledger import Ledger

_BEFORE = ""


class Claims:
    """Claims on nodes of some topologies. What is there at first is kept until `forget_before`."""

    def __init__(self, ledger: Ledger, topologies: Iterable[str]) -> None:
        self._ledger = ledger
        self._claims = {name: {_BEFORE: set(ledger[name].ids())} for name in topologies}

    def claim(self, owner: str, topology: str, ids: set[str]) -> None:
        """Say what an owner has of a topology now; it has all of it alone."""
        owners = self._claims[topology]
        for other, theirs in owners.items():
            if other != owner:
                theirs.difference_update(ids)
        owners[owner] = ids

    def forget_before(self) -> None:
        """Claim no longer what was there at first."""
        for owners in self._claims.values():
            owners[_BEFORE] = set()

    def settle(self) -> None:
        """Take away what nobody claims."""
        for topology, owners in self._claims.items():
            self._ledger[topology].keep(set[str]().union(*owners.values()))
