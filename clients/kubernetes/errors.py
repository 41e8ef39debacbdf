"""What calls of the Kubernetes API may end in.

KubernetesError
├── UnreachableError    nobody answers, or the files of a pod's identity are missing (retryable)
├── RefusedError        the server refuses a call; `reason` is its own word (retryable when the
│   │                   server is what stands in the way)
│   └── ForbiddenError  no Role lets the caller do that
└── UnknownKindError    the server serves no such objects: a definition is missing

Each says what was expected, what was seen and what to do. `retryable` tells whether the same call
may succeed later without anybody changing anything.
"""

from __future__ import annotations

# A server's own words for what passes by itself: too many calls, an election of its store.
_PASSING = frozenset(
    {"InternalError", "ServerTimeout", "ServiceUnavailable", "Timeout", "TooManyRequests",
     # Of who stands before a server, and has no words.
     "500", "502", "503", "504"}
)  # fmt: skip


class KubernetesError(Exception):
    """A call did not do what was asked."""

    retryable = False


class UnreachableError(KubernetesError):
    """Nobody answers."""

    retryable = True


class RefusedError(KubernetesError):
    """The server refuses a call; `reason` is its own word for why, such as `Forbidden`."""

    def __init__(self, what: str, reason: str, message: str) -> None:
        super().__init__(
            f"expected the API server to {what}, saw {reason}: {message}. Check the Role of this "
            "process' service account"
        )
        self.reason = reason
        self.retryable = reason in _PASSING


class ForbiddenError(RefusedError):
    """The server knows who calls, and no Role lets them do that."""


class UnknownKindError(KubernetesError):
    """The server serves no such objects."""
