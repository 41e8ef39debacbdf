"""How a master reaches the other replicas of the registry: by the children of `log_replicas`.

As in Mesos, whoever stands there belongs to the group, whichever cluster it is of, and a child
whose data is no PID ends every master of the group (src/log/network.hpp).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from stacks.local.errors import ElectionError
from stacks.local.mesos.election import LOG_REPLICAS
from stacks.local.session import NoNodeError, Session, ZooKeeperError

if TYPE_CHECKING:
    import httpx

_PID = re.compile(r"log-replica\(\d+\)@(\S+:\d+)")
_ASK_TIMEOUT_S = 2.0
_PAUSE_S = 0.5


def replica_pid(ip: str, port: int) -> str:
    """What a master writes of its replica."""
    return f"log-replica(1)@{ip}:{port}"


def read_pid(name: str, data: bytes) -> str:
    """Address in a child's data.

    Raises:
        ElectionError: it is no PID.
    """
    found = _PID.fullmatch(data.decode(errors="replace"))
    if found is None:
        place = f"{LOG_REPLICAS}/{name}"
        msg = f"expected log-replica(1)@ip:port in {place}, saw {data[:80]!r}: delete it"
        raise ElectionError(msg)
    return found[1]


class HttpPeers:
    """The other members of the group."""

    def __init__(
        self, client: httpx.AsyncClient, own: str, configured: Sequence[str] | None
    ) -> None:
        self._client = client
        self._own = own
        self._configured = None if configured is None else frozenset(configured)
        self._addresses: list[str] = []

    @property
    def addresses(self) -> Sequence[str]:
        """See `Peers`."""
        if self._configured is not None:
            return sorted(self._configured - {self._own})
        return self._addresses

    def note(self, addresses: Sequence[str]) -> None:
        """Take what the election path says."""
        self._addresses = sorted(set(addresses) - {self._own})

    async def ask(self, address: str, message: dict[str, Any]) -> dict[str, Any] | None:
        """See `Peers`."""
        import httpx

        try:
            answer = await self._client.post(
                f"http://{address}/standin/log", json=message, timeout=_ASK_TIMEOUT_S
            )
            return answer.json() if answer.is_success else None
        except (httpx.HTTPError, ValueError):
            return None


async def follow_group(session: Session, path: str, note: Callable[[Sequence[str]], None]) -> None:
    """Keep the list of members; never returns.

    Raises:
        ElectionError: a child holds no PID.
    """
    wake = asyncio.Event()
    session.on_change(wake.set)
    folder = f"{path}/{LOG_REPLICAS}"
    while True:
        wake.clear()
        try:
            if session.connected.is_set() and await session.exists(folder, wake.set):
                note(await _members(session, folder, wake))
        except NoNodeError:
            continue
        except ZooKeeperError:
            await asyncio.sleep(_PAUSE_S)
            continue
        await wake.wait()


async def _members(session: Session, folder: str, wake: asyncio.Event) -> list[str]:
    members: list[str] = []
    for name in await session.children(folder, wake.set):
        if not name.rpartition("_")[2].isdigit():
            continue
        try:
            node = await session.get(f"{folder}/{name}")
        except NoNodeError:
            continue
        members.append(read_pid(name, node.data))
    return members
