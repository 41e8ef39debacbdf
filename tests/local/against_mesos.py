"""Run the contract tests on the real programs: `python -m tests.local.against_mesos`.

pytest gets a process of its own: it wants to be there before what it rewrites is loaded.
"""

from __future__ import annotations

import os
import shutil
import sys

from tests.local.served import SWITCH

TESTS = ("tests/local/test_recorded_exchanges.py", "tests/local/test_contract.py")
PROGRAMS = ("mesos-master", "mesos-agent")


def missing() -> str | None:
    """What to say where the programs are not there."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if not absent:
        return None
    return (
        f"expected {' and '.join(PROGRAMS)} on PATH, saw no {' and no '.join(absent)}: install "
        "Apache Mesos 1.12 or Clusterd, or put its build's bin folder on PATH. On stand-ins the "
        "same tests are part of `make test`"
    )


def main() -> None:
    """Run them, with further arguments for pytest."""
    problem = missing()
    if problem is not None:
        sys.exit(problem)
    command = [sys.executable, "-m", "pytest", "-n", "0", *TESTS, *sys.argv[1:]]
    os.execve(sys.executable, command, {**os.environ, SWITCH: "processes"})


if __name__ == "__main__":
    main()
