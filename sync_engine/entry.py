"""Where `zk-sync` begins: says what to install where the engine's own packages are missing."""

from __future__ import annotations

import sys

_FAILED = 1


def main() -> None:
    """Run `zk-sync`."""
    try:
        from sync_engine.cli import main as run  # noqa: PLC0415 - it may not be installed whole
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "sync_engine":
            raise
        msg = (
            f"expected the packages of the sync engine, saw no {error.name}: "
            "pip install 'mesos-platform[sync]'"
        )
        print(msg, file=sys.stderr)  # noqa: T201 - nothing that prints is there yet
        sys.exit(_FAILED)
    run()
