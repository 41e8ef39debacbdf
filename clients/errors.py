"""What can go wrong before a client talks to anybody, or in asking a name server.

::

    ClientError
    ├── AccessError     a file of a credential or of TLS cannot be used
    ├── DnsError        a name server did not answer, or not to the question
    └── TryAgainError   between the attempts of one request; callers never see it

What goes wrong in talking is each system's own tree: clients.mesos.errors, clients.marathon.errors.
"""

from __future__ import annotations


class ClientError(Exception):
    """Root of what all clients share."""


class AccessError(ClientError):
    """A file of a credential or of TLS cannot be used. The message names it, never its content."""


class DnsError(ClientError):
    """A name server did not answer, or not to the question."""


class TryAgainError(ClientError):
    """An attempt that told nothing that lasts. `error` is what to say if it was the last one,
    `sent` whether the request may have arrived."""

    def __init__(self, error: Exception, *, sent: bool) -> None:
        self.error = error
        self.sent = sent
        super().__init__(str(error))
