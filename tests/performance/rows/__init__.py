"""The rows of the sync engine's benchmark, in the order in which they run.

A row is an asynchronous generator of figures: each is shown as soon as it is there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping

from tests.performance.rows import copy, counts, faults, lag
from tests.performance.rows.partition import partition
from tests.performance.stage import Stage
from tests.performance.table import Figure

Row = Callable[[Stage], AsyncGenerator[Figure]]
ROWS: Mapping[str, Row] = {
    "copy": copy.first,
    "rerun": copy.second,
    "idle": counts.idle,
    "lag": lag.one_way,
    "both-ways": lag.both_ways,
    "rate": lag.highest_rate,
    "burst": lag.burst,
    "echo": counts.echo,
    "kill": faults.kill,
    "leader": faults.leader,
    "partition": partition,
}
