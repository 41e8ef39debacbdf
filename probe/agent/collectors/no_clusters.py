"""In place of what asks clusters, where the settings name none: clients for them cost 20 MB."""

from __future__ import annotations

from typing import ClassVar

from probe.agent.collector import Capability, State
from probe.agent.errors import AbsentError
from probe.agent.site import Site


class NoClusters:
    """Says that nobody is named."""

    name: ClassVar[str] = "mesos"
    interval_s: ClassVar[float] = 5.0

    def __init__(self, site: Site) -> None:
        del site

    async def start(self) -> None:
        """Refuse to.

        Raises:
            AbsentError: always.
        """
        msg = "no cluster is named"
        raise AbsentError(msg, grant="name masters and ZooKeeper servers in `mesos`")

    async def collect(self) -> None:
        """Look at nothing."""

    def capability(self) -> Capability:
        """Nothing is seen."""
        return Capability(State.ABSENT, "none")

    async def close(self) -> None:
        """Nothing is open."""
