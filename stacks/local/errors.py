"""What can go wrong in the one-machine rig.

::

    LocalError
    ├── StartError            permanent: a process cannot start from what it was given
    ├── RegistryError         the replicated registry
    │   ├── NoQuorumError     retryable: too few replicas answer
    │   └── DeposedError      permanent: another leader holds a higher proposal
    ├── ElectionError         permanent: the election path cannot be read as one
    ├── RemovedError          permanent: masters have completed the sample framework
    └── CallError             an HTTP call that is answered with a status and plain text
        └── ApiError          the same, answered with JSON

Messages say what was expected, what was seen and what to do.
"""

from __future__ import annotations

from typing import Any


class LocalError(Exception):
    """Root of this package's errors."""


class StartError(LocalError):
    """A process cannot start from what it was given; it ends with status 1 and this message."""


class RegistryError(LocalError):
    """The replicated registry cannot be read or changed."""


class NoQuorumError(RegistryError):
    """Too few replicas answered; more may answer later."""

    def __init__(self, *, expected: int, seen: int, action: str) -> None:
        self.expected = expected
        self.seen = seen
        super().__init__(f"{action}: expected {expected} replicas of the registry, saw {seen}")


class DeposedError(RegistryError):
    """A replica has promised itself to another leader; this one must end."""

    def __init__(self, *, proposal: int, promised: int) -> None:
        self.proposal = proposal
        self.promised = promised
        super().__init__(
            f"expected to write the registry with proposal {proposal}, saw a replica promised to "
            f"{promised}: another master leads"
        )


class ElectionError(LocalError):
    """The lowest node of the election path names no master; real detectors fail on it too."""


class RemovedError(LocalError):
    """Masters have completed this framework: it may not come back under its id."""


class CallError(LocalError):
    """A call that is answered with a status and plain text, as masters do."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


class ApiError(CallError):
    """A call that is answered with a status and JSON, as Marathon does."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.body = body
        super().__init__(status, str(body.get("message", "")))

    @classmethod
    def of(cls, status: int, message: str) -> ApiError:
        """One that only says something."""
        return cls(status, {"message": message})
