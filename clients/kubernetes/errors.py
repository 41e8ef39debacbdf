"""What calls of the Kubernetes API may end in.

KubernetesError
├── UnreachableError    nobody answers, or the files of a pod's identity are missing (retryable)
├── RefusedError        the server refuses a call; `reason` is its own word
└── UnknownKindError    the server serves no such objects: a definition is missing

Each says what was expected, what was seen and what to do.
"""

from __future__ import annotations


class KubernetesError(Exception):
    """A call did not do what was asked."""


class UnreachableError(KubernetesError):
    """Nobody answers."""


class RefusedError(KubernetesError):
    """The server refuses a call; `reason` is its own word for why, such as `Forbidden`."""

    def __init__(self, what: str, reason: str, message: str) -> None:
        super().__init__(
            f"expected the API server to {what}, saw {reason}: {message}. Check the Role of this "
            "process' service account"
        )
        self.reason = reason


class UnknownKindError(KubernetesError):
    """The server serves no such objects."""
