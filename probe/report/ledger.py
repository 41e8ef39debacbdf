"""All tables of a probe, and the stream of frames that tells of them.

One stream serves every receiver: frames are numbered, a delta leads from one number to the next, a
snapshot may take the place of all deltas up to its number. Whoever misses a delta needs a snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping

from probe.report.table import Symbols, Table
from probe.report.topologies import TOPOLOGIES
from probe.report.wire import SYMBOLS_MAX, Frame, Kind, TableChange

# Begun anew well before a receiver would refuse more.
_SYMBOLS_RENEWED = SYMBOLS_MAX * 9 // 10


class Ledger:
    """What a probe knows now. `epoch` orders its lives: later ones have greater numbers.

    After `symbols_max` symbols the stream begins anew, with another epoch.
    """

    def __init__(self, probe: str, epoch: int, *, symbols_max: int = _SYMBOLS_RENEWED) -> None:
        self._symbols_max = symbols_max
        self.probe = probe
        self.epoch = epoch
        self.seq = 0
        self.tables: Mapping[str, Table] = {
            name: Table(topology) for name, topology in TOPOLOGIES.items()
        }
        self._symbols = Symbols()
        self._told = 0
        self._begins_anew = False

    def __getitem__(self, topology: str) -> Table:
        return self.tables[topology]

    def delta(self, time_ms: int, lease_ms: int) -> Frame:
        """The next frame: what changed since the last one. It may be empty."""
        if self._begins_anew or len(self._symbols.texts) > self._symbols_max:
            return self._renew(time_ms, lease_ms)
        changes = [table.changes(self._symbols) for table in self.tables.values()]
        self.seq += 1
        told, self._told = self._told, len(self._symbols.texts)
        return self._frame(Kind.DELTA, time_ms, lease_ms, told, changes)

    def snapshot(self, time_ms: int, lease_ms: int) -> Frame:
        """Everything that the frames up to now have told, under the number of the last one.

        To be asked for directly after `delta`: what changed since then would be told twice, which
        is harmless, but nodes removed since then would come out as never told.
        """
        tables = [table.whole(self._symbols) for table in self.tables.values()]
        # Symbols that only a snapshot has used so far go out again with the next delta.
        return self._frame(Kind.SNAPSHOT, time_ms, lease_ms, 0, tables)

    def begin_after(self, epoch: int) -> None:
        """Let the stream begin anew, with a greater epoch than that, at the next delta.

        A receiver that has heard a later life of this probe takes nothing of an earlier one: so
        it looks where this machine's clock was set back before the probe was restarted.
        """
        self.epoch = max(self.epoch, epoch)
        self._begins_anew = True

    def _renew(self, time_ms: int, lease_ms: int) -> Frame:
        """A new epoch, whose first frame is a snapshot with fresh symbols."""
        self._begins_anew = False
        self.epoch += 1
        self.seq = 0
        self._symbols = Symbols()
        for table in self.tables.values():
            table.changes(self._symbols)
        self._symbols = Symbols()
        frame = self.snapshot(time_ms, lease_ms)
        self._told = len(self._symbols.texts)
        return frame

    def _frame(
        self,
        kind: Kind,
        time_ms: int,
        lease_ms: int,
        symbols_from: int,
        tables: list[TableChange | None],
    ) -> Frame:
        return Frame(
            kind=kind,
            probe=self.probe,
            epoch=self.epoch,
            seq=self.seq,
            time_ms=max(0, time_ms),
            lease_ms=lease_ms,
            symbols_from=symbols_from,
            symbols=self._symbols.texts[symbols_from:],
            tables=[table for table in tables if table is not None],
        )
