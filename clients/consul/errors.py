"""What can go wrong when talking to Consul.

::

    ConsulError
    ├── RetryableError              the same request may succeed later
    │   └── UnreachableError        no server took it in time, or none of them knows a leader
    └── PermanentError              the same request will fail again
        ├── ForbiddenError          403: the token may not do it, or there is none
        ├── RequestRefusedError     other refusals, with Consul's own words
        └── ProtocolError           an answer that is not Consul's

Messages say what was expected, what was seen and what to do; tokens are never part of them.
"""

from __future__ import annotations


class ConsulError(Exception):
    """Root of this package's errors."""


class RetryableError(ConsulError):
    """The same request may succeed later."""


class PermanentError(ConsulError):
    """The same request will fail again."""


class UnreachableError(RetryableError):
    """No server took the request in time, or none of them knows a leader."""


class ForbiddenError(PermanentError):
    """The token may not do it, or there is none."""


class RequestRefusedError(PermanentError):
    """Consul refuses the request."""


class ProtocolError(PermanentError):
    """An answer that is not Consul's."""
