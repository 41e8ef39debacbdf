"""Measure Mesos: `python -m tests.performance.mesos [--only ROW ...] [--quick] [--json]`.

Prints each figure as it comes and writes all of them to build/bench/mesos.json. Never fails because
something was slow: the exit status is 1 only if a row could not be measured.
`docs/benchmarks.md` says how each figure is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.performance import table
from tests.performance.mesos.rows import ROWS
from tests.performance.mesos.stage import FULL, QUICK, Sizes, Stage, engine
from tests.performance.sync import gather, write
from tests.performance.table import Figure

OUTPUT = Path(__file__).resolve().parents[3] / "build" / "bench" / "mesos.json"


async def measure(
    names: Sequence[str], sizes: Sizes, folder: Path, show: Callable[[str], None]
) -> list[Figure]:
    """Run rows one after the other; one that fails gives a figure without a value."""
    figures: list[Figure] = []
    began_at, stage = time.monotonic(), Stage(folder, sizes)
    show(f"masters and agents: {engine()}; load {os.getloadavg()[0]:.1f}")
    show(table.head())
    for name in names:
        figures += await gather(name, ROWS[name](stage), show)
    seconds = time.monotonic() - began_at
    show(f"{len(figures)} figures in {seconds:.0f} s; load {os.getloadavg()[0]:.1f}")
    return figures


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: whether it works, not how fast"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON at the end")
    given = parser.parse_args()

    def show(line: str) -> None:
        # Standard output is the JSON's when there is any.
        print(line, file=sys.stderr if given.json else sys.stdout, flush=True)

    # Told to end, it ends its processes first.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sizes = QUICK if given.quick else FULL
    with tempfile.TemporaryDirectory(prefix="bench-mesos-") as folder:
        figures = asyncio.run(measure(given.only, sizes, Path(folder), show))
    write(figures, OUTPUT)
    show(f"written to {OUTPUT}")
    if given.json:
        json.dump(table.as_json(figures), sys.stdout, indent=2)
        sys.stdout.write("\n")
    sys.exit(any(figure.measured is None for figure in figures))


if __name__ == "__main__":
    main()
