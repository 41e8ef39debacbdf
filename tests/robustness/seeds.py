"""Where the seeds of long fault runs begin: `ROBUSTNESS_SEED`, which a run prints.

The same number makes the same choices again. Threads and processes of real servers take their own
turns all the same, so a failure may need a few runs to come back.
"""

from __future__ import annotations

import os

VARIABLE = "ROBUSTNESS_SEED"


def base() -> int:
    """The run's seed; 0 where none is given."""
    return int(os.environ.get(VARIABLE, "0"))
