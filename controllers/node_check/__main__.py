"""`python -m controllers.node_check --work-dir DIR …`: ends with 0 on a node that is fit, else with
1 and one line a reason, which Kubernetes shows as the end of the pod's init container."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from controllers.node_check.decide import Wanted, reasons
from controllers.node_check.facts import look

# Where the kubelet looks for what a container wants to have said; there is none elsewhere.
_LAST_WORDS = Path("/dev/termination-log")


def main() -> int:
    """Look once."""
    parser = argparse.ArgumentParser(prog="controllers.node_check", description=__doc__)
    parser.add_argument("--work-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--cpus", type=float, required=True)
    parser.add_argument("--mem-mb", type=int, required=True)
    parser.add_argument("--disk-mb", type=int, required=True)
    parser.add_argument("--cgroups", type=int, choices=(1, 2))
    parser.add_argument("--docker-socket", type=Path, metavar="PATH")
    parser.add_argument("--program", action="append", default=[], metavar="NAME")
    given = parser.parse_args()
    socket = given.docker_socket
    wanted = Wanted(
        cpus=given.cpus,
        mem_mb=given.mem_mb,
        disk_mb=given.disk_mb,
        cgroups=given.cgroups,
        docker_socket=None if socket is None else str(socket),
    )
    found = reasons(wanted, look(given.work_dir, socket, programs=given.program))
    text = "".join(f"this node is not fit for its agent: {reason}\n" for reason in found)
    sys.stderr.write(text)
    if text and _LAST_WORDS.exists():
        _LAST_WORDS.write_text(text)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
