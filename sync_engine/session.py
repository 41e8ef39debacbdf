"""A ZooKeeper session as values: what another process needs to go on with it, and its states."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LaneState(StrEnum):
    """What a lane's `on_state` callbacks are told."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    EXPIRED = "expired"
    ENDED = "ended"
    """It has given up: credentials are refused, or it broke down. `start` begins again."""


@dataclass(frozen=True, slots=True)
class SavedSession:
    """What another process needs to go on with a session. The password is a secret."""

    id: int
    password: bytes

    def __repr__(self) -> str:
        return f"SavedSession(id={self.id:#x})"
