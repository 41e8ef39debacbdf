"""Programs of the distribution that only tests use: `python3 -m tools.packages`.

Not part of set-up. As root on a Debian-like system what is missing is installed; elsewhere it is
named. A service that comes with a package is not started here: tests run the programs themselves.
"""

from __future__ import annotations

from tools.errors import explain
from tools.prerequisites import program, see_to

TEST_PROGRAMS = (
    program("haproxy", "haproxy", "the edge is tested with the real proxy"),
    program("promtool", "prometheus", "alert rules and dashboards are tested by Prometheus"),
    program("prometheus", "prometheus", "it loads the rules as an operator's would"),
)


def install() -> None:
    """See to it that they are there.

    Raises:
        PrerequisiteError: names what is missing, why it is needed and how to get it.
        StepFailedError: the distribution's packages cannot be installed.
    """
    see_to(list(TEST_PROGRAMS))


if __name__ == "__main__":
    explain(install)
