"""The rows of the sync engine's benchmark, in the order in which they run.

A row is an asynchronous generator of figures: each is shown as soon as it is there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping

from tests.performance.rows import lag
from tests.performance.stage import Stage
from tests.performance.table import Figure

Row = Callable[[Stage], AsyncGenerator[Figure]]
ROWS: Mapping[str, Row] = {
    "lag": lag.one_way,
}
