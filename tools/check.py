"""Every check of `make check`, one after another; all of them run, then it fails if one did."""

from __future__ import annotations

import subprocess
import sys
import time

from tools.environment import BIN, CHECKOUT

_CHECK_S_MAX = 900
CHECKS = {
    "format": ("ruff", "format", "--check"),
    "lint": ("ruff", "check"),
    "types": ("pyright",),
    "import contracts": ("lint-imports",),
    "spelling": ("codespell",),
    "tidiness": ("pytest", "-q", "-n", "0", "tests/tidy"),
}


def main() -> None:
    """Run the checks; the process ends with 1 when one failed."""
    failed = [name for name, command in CHECKS.items() if not _passes(name, command)]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")
    sys.stdout.write("all checks passed\n")


def _passes(name: str, command: tuple[str, ...]) -> bool:
    sys.stdout.write(f"{name}: {' '.join(command)}\n")
    sys.stdout.flush()
    started = time.monotonic()
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]], check=False, cwd=CHECKOUT, timeout=_CHECK_S_MAX
    )
    outcome = "passed" if done.returncode == 0 else "FAILED"
    sys.stdout.write(f"{name}: {outcome} ({time.monotonic() - started:.1f} s)\n\n")
    return done.returncode == 0


if __name__ == "__main__":
    main()
