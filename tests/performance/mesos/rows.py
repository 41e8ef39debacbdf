"""The rows of the benchmark of Mesos, in the order in which they run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping

from tests.performance.mesos import launching, reading, sharing
from tests.performance.mesos.stage import Stage
from tests.performance.table import Figure

Row = Callable[[Stage], AsyncGenerator[Figure]]
ROWS: Mapping[str, Row] = {
    "offers": launching.offers,
    "launch": launching.launch,
    "ceiling": launching.ceiling,
    "start": launching.start,
    "pack": sharing.pack,
    "failover": sharing.failover,
    "state": reading.state,
    "drain": sharing.drain,
}
