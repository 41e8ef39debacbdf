"""What can go wrong when members of an ensemble are asked for or changed.

::

    ZooKeeperError
    ├── UnreachableError    no server took the call in time (retryable)
    └── RefusedError        a server refuses it: the next look may see why

Messages say what was expected, what was seen and what to do; credentials are never part of them.
"""

from __future__ import annotations


class ZooKeeperError(Exception):
    """Root of this package's errors."""


class UnreachableError(ZooKeeperError):
    """No server took the call in time."""


class RefusedError(ZooKeeperError):
    """A server refuses a call."""
