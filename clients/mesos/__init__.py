"""Mesos over HTTP: the v1 operator and scheduler APIs, typed, asynchronous, leader-following."""

from clients.access import Tls
from clients.mesos.errors import (
    AuthenticationError,
    CallRefusedError,
    ForeignLeaderError,
    FrameworkRemovedError,
    MesosError,
    NoLeaderError,
    NotFoundError,
    PermanentError,
    ProtocolError,
    RetryableError,
    SubscriptionLostError,
    UnreachableError,
)
from clients.mesos.operator import OperatorClient
from clients.mesos.scheduler import SchedulerClient, Subscription

__all__ = [
    "AuthenticationError",
    "CallRefusedError",
    "ForeignLeaderError",
    "FrameworkRemovedError",
    "MesosError",
    "NoLeaderError",
    "NotFoundError",
    "OperatorClient",
    "PermanentError",
    "ProtocolError",
    "RetryableError",
    "SchedulerClient",
    "Subscription",
    "SubscriptionLostError",
    "Tls",
    "UnreachableError",
]
