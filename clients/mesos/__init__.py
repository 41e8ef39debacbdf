"""Mesos over HTTP: the v1 operator API as a typed, asynchronous, leader-following client."""

from clients.mesos.errors import (
    AuthenticationError,
    CallRefusedError,
    ForeignLeaderError,
    MesosError,
    NoLeaderError,
    NotFoundError,
    PermanentError,
    ProtocolError,
    RetryableError,
    UnreachableError,
)
from clients.mesos.operator import OperatorClient

__all__ = [
    "AuthenticationError",
    "CallRefusedError",
    "ForeignLeaderError",
    "MesosError",
    "NoLeaderError",
    "NotFoundError",
    "OperatorClient",
    "PermanentError",
    "ProtocolError",
    "RetryableError",
    "UnreachableError",
]
