"""Measure the sync engine: `python -m tests.performance.sync [--only ROW ...] [--quick] [--json]`.

Prints each figure as it comes and writes all of them to build/bench/sync.json. Never fails because
something was slow: the exit status is 1 only if a row could not be measured.
`docs/benchmarks.md` says how each figure is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

from tests.performance import table
from tests.performance.rows import ROWS
from tests.performance.sizes import FULL, QUICK, Sizes
from tests.performance.stage import staged
from tests.performance.table import Figure

OUTPUT = Path(__file__).resolve().parents[2] / "build" / "bench" / "sync.json"


async def measure(
    names: Sequence[str], sizes: Sizes, folder: Path, show: Callable[[str], None]
) -> list[Figure]:
    """Run rows one after the other; one that fails gives a figure without a value."""
    figures: list[Figure] = []
    began_at = time.monotonic()
    async with staged(folder, sizes) as stage:
        show(f"two ensembles serve after {time.monotonic() - began_at:.0f} s")
        show(table.head())
        for name in names:
            figures += await gather(name, ROWS[name](stage), show)
    show(f"{len(figures)} figures in {time.monotonic() - began_at:.0f} s")
    return figures


async def gather(
    name: str, row: AsyncGenerator[Figure], show: Callable[[str], None]
) -> list[Figure]:
    """Show and keep a row's figures; if it fails, one without a value that says why."""
    figures: list[Figure] = []
    try:
        async for figure in row:
            show(table.as_text(figure))
            figures.append(figure)
    except Exception as error:  # noqa: BLE001 - one row must not take the others with it
        traceback.print_exc()
        figures.append(Figure(f"row {name!r}", "", None, note=f"{type(error).__name__}: {error}"))
        show(table.as_text(figures[-1]))
    return figures


def write(figures: Sequence[Figure], file: Path) -> None:
    """Write figures as JSON, and as text beside it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(table.as_json(figures), indent=2, allow_nan=False) + "\n")
    lines = [table.head(), *map(table.as_text, figures)]
    file.with_suffix(".txt").write_text("\n".join(lines) + "\n")


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

    # Told to end, it ends its servers first.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sizes = QUICK if given.quick else FULL
    with tempfile.TemporaryDirectory(prefix="bench-sync-") as folder:
        figures = asyncio.run(measure(given.only, sizes, Path(folder), show))
    write(figures, OUTPUT)
    show(f"written to {OUTPUT}")
    if given.json:
        json.dump(table.as_json(figures), sys.stdout, indent=2)
        sys.stdout.write("\n")
    sys.exit(any(figure.measured is None for figure in figures))


if __name__ == "__main__":
    main()
