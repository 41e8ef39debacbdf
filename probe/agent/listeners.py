"""Who listens where: what makes one side of a socket the server's."""

from __future__ import annotations

# A listener that has gone still tells who the server was of connections that outlive it.
LISTENER_MEMORY_S = 150.0
# Each takes 0.4 kB.
LISTENERS_MAX = 30_000

_WILDCARDS = (b"", bytes(4), bytes(16))


class Listeners:
    """Where somebody listens, or has listened a moment ago: by namespace, protocol and port."""

    def __init__(self) -> None:
        self._places: dict[tuple[int, int, int], dict[bytes, tuple[str, float]]] = {}
        self._kept = 0
        self.share = 1.0
        """How much of the bound is used."""

    def note(  # noqa: PLR0913, PLR0917 - what makes a listener
        self, namespace: int, protocol: int, address: bytes, port: int, owner: str, now: float
    ) -> bool:
        """Somebody listens there now; no owner for an unknown or ambiguous one. False where that
        is one too many to keep."""
        place = (namespace, protocol, port)
        address = b"" if address in _WILDCARDS else address
        if address not in self._places.get(place, {}):
            if self._kept >= LISTENERS_MAX * self.share:
                return False
            self._kept += 1
        self._places.setdefault(place, {})[address] = (owner, now)
        return True

    def has(self, namespace: int, protocol: int, port: int) -> bool:
        """Whether somebody listens on a port, or has a moment ago."""
        return (namespace, protocol, port) in self._places

    def owner(self, namespace: int, protocol: int, address: bytes, port: int) -> str:
        """Who listens there; empty for nobody known."""
        here = self._places.get((namespace, protocol, port), {})
        return (here.get(address) or here.get(b"") or ("", 0.0))[0]

    def forget(self, now: float) -> None:
        """Forget those that have been gone for long."""
        for key, here in list(self._places.items()):
            kept = {a: (p, at) for a, (p, at) in here.items() if now - at <= LISTENER_MEMORY_S}
            if kept:
                self._places[key] = kept
            else:
                del self._places[key]
        self._kept = sum(len(here) for here in self._places.values())
