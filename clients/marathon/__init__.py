"""Marathon over HTTP: its v2 API as a typed, asynchronous client that follows the leader.

The client itself is loaded when it is asked for: who only names errors or values, as a resource's
provider does in each preview, does not wait for an HTTP library.
"""

from typing import TYPE_CHECKING

from clients.access import Tls
from clients.marathon.errors import (
    AuthenticationError,
    DefinitionError,
    DeploymentFailedError,
    DeploymentTimeoutError,
    ForeignLeaderError,
    InvalidError,
    LockedError,
    MarathonError,
    NoLeaderError,
    NotFoundError,
    PermanentError,
    ProtocolError,
    RequestRefusedError,
    RetryableError,
    StreamEndedError,
    TooManyDeploymentsError,
    UnreachableError,
)

if TYPE_CHECKING:
    from clients.marathon.client import MarathonClient

__all__ = [
    "AuthenticationError",
    "DefinitionError",
    "DeploymentFailedError",
    "DeploymentTimeoutError",
    "ForeignLeaderError",
    "InvalidError",
    "LockedError",
    "MarathonClient",
    "MarathonError",
    "NoLeaderError",
    "NotFoundError",
    "PermanentError",
    "ProtocolError",
    "RequestRefusedError",
    "RetryableError",
    "StreamEndedError",
    "Tls",
    "TooManyDeploymentsError",
    "UnreachableError",
]


def __getattr__(name: str) -> object:
    if name == "MarathonClient":
        from clients.marathon.client import MarathonClient  # noqa: PLC0415 - brings httpx

        return MarathonClient
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
