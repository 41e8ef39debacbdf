"""Marathon over HTTP: its v2 API as a typed, asynchronous client that follows the leader."""

from clients.access import Tls
from clients.marathon.client import MarathonClient
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
