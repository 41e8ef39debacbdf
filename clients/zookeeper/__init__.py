"""An ensemble's servers and its members: who serves, who votes, and a change of it."""

from clients.zookeeper.client import EnsembleClient
from clients.zookeeper.ensemble import Ensemble, ServerAnswer
from clients.zookeeper.errors import RefusedError, UnreachableError, ZooKeeperError

__all__ = [
    "Ensemble",
    "EnsembleClient",
    "RefusedError",
    "ServerAnswer",
    "UnreachableError",
    "ZooKeeperError",
]
