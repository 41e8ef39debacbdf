"""What a process of this machine has used, by `/proc`."""

from __future__ import annotations

import os
from pathlib import Path


def processor_s(pid: int) -> float:
    """Processor time that it has used so far, its own and the kernel's for it."""
    # The name, in brackets, may hold blanks; user and system time are the 14th and 15th fields.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Memory that it holds now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
