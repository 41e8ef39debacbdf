"""Set-up's first step, written for any Python 3: find one that is new enough and go on with it."""

import os
import shutil
import sys

MINIMUM = (3, 11)
NEWEST_TRIED = 20
MODULE = "tools.environment"


def choose():
    # type: () -> str
    """A Python that is new enough and not the environment's own, which may be made anew."""
    if sys.version_info >= MINIMUM:
        if sys.prefix == sys.base_prefix:
            return sys.executable
        own = os.path.join(sys.base_prefix, "bin", "python%d.%d" % sys.version_info[:2])
        if os.access(own, os.X_OK):
            return own
    for minor in range(NEWEST_TRIED, MINIMUM[1] - 1, -1):
        found = shutil.which("python3.%d" % minor)
        if found and not os.path.exists(os.path.join(os.path.dirname(found), "..", "pyvenv.cfg")):
            return found
    sys.exit(
        "error: expected Python %d.%d or newer, saw %d.%d and no other on PATH; install a newer "
        "one, or name it: make setup PYTHON=/path/to/python" % (MINIMUM + sys.version_info[:2])
    )


if __name__ == "__main__":
    python = choose()
    os.execv(python, [python, "-m", MODULE] + sys.argv[1:])
