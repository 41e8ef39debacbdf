"""What the clients of operators and of frameworks share: masters, a credential, and a bound."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import httpx

from clients.access import Tls
from clients.closing import Closing
from clients.mesos.transport import Transport

_TIMEOUT_S = 10.0


class MastersClient(Closing):
    """A client of one cluster. `masters` are `host:port`, as the masters name each other.

    `timeout_s` bounds each call with all its attempts; `follow_projection` allows a leader of
    another cluster; `transport` replaces the network in tests.

    Raises:
        AuthenticationError: the credential file, or one of TLS, cannot be used.
    """

    def __init__(  # noqa: PLR0913 - by keyword, each with a default
        self,
        masters: Sequence[str],
        credential_file: Path | None = None,
        *,
        timeout_s: float = _TIMEOUT_S,
        follow_projection: bool = False,
        tls: Tls | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._transport = Transport(
            masters,
            credential_file=credential_file,
            timeout_s=timeout_s,
            follow_projection=follow_projection,
            tls=tls,
            transport=transport,
        )

    @property
    def masters(self) -> tuple[str, ...]:
        """The declared masters."""
        return self._transport.masters

    async def close(self) -> None:
        """Close connections; a framework stays registered for its failover time-out."""
        await self._transport.close()
