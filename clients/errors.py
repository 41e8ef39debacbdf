"""What can go wrong before a client talks to anybody.

::

    ClientError
    └── AccessError     a file of a credential or of TLS cannot be used

What goes wrong in talking is each system's own tree: clients.mesos.errors, clients.marathon.errors.
"""

from __future__ import annotations


class ClientError(Exception):
    """Root of what all clients share."""


class AccessError(ClientError):
    """A file of a credential or of TLS cannot be used. The message names it, never its content."""
