"""Consul over HTTP: its catalog and health, as a typed, asynchronous client of its servers."""

from clients.consul.client import ConsulClient
from clients.consul.errors import (
    ConsulError,
    ForbiddenError,
    PermanentError,
    ProtocolError,
    RequestRefusedError,
    RetryableError,
    UnreachableError,
)
from clients.consul.model import Check, Node, Service, Status

__all__ = [
    "Check",
    "ConsulClient",
    "ConsulError",
    "ForbiddenError",
    "Node",
    "PermanentError",
    "ProtocolError",
    "RequestRefusedError",
    "RetryableError",
    "Service",
    "Status",
    "UnreachableError",
]
