"""Mesos over HTTP: the v1 operator and scheduler APIs, typed, asynchronous, leader-following.

The clients themselves are loaded when they are asked for, as in `clients.marathon`.
"""

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
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


def __getattr__(name: str) -> object:
    if name == "OperatorClient":
        from clients.mesos import operator  # noqa: PLC0415 - brings httpx

        return operator.OperatorClient
    if name in {"SchedulerClient", "Subscription"}:
        from clients.mesos import scheduler  # noqa: PLC0415 - brings httpx

        return getattr(scheduler, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
