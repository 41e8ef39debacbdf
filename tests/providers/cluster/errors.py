"""What the API server, or a cluster, may answer an update with.

ClusterError
├── UnreachableError     no API server answers there
├── UnknownKindError     the server does not know such objects (a missing definition)
├── RefusedError         the server refuses a call: not permitted, not valid, in conflict
├── ForeignObjectError   somebody else has made an object of that name
└── StuckError           what was applied did not become ready in time

Each says what was expected, what was seen and what to do.
"""

from __future__ import annotations


class ClusterError(Exception):
    """An object could not be made what was declared."""


class UnreachableError(ClusterError):
    """No API server answers there."""


class UnknownKindError(ClusterError):
    """The server does not know such objects."""


class RefusedError(ClusterError):
    """The server refuses a call; `reason` is its own word for why, such as `Forbidden`."""

    def __init__(self, what: str, reason: str, message: str) -> None:
        super().__init__(f"expected the API server to {what}, saw {reason}: {message}")
        self.reason = reason


class ForeignObjectError(ClusterError):
    """Somebody else has made an object of that name."""


class StuckError(ClusterError):
    """What was applied did not become ready in time."""
