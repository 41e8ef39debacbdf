"""What can go wrong when talking to Mesos.

::

    MesosError
    ├── RetryableError                  the same call may succeed later
    │   ├── NoLeaderError               masters answer, none leads (or has not read its registry)
    │   ├── UnreachableError            no master answered in time
    │   └── SubscriptionLostError       a framework's stream ended: subscribe again, then reconcile
    └── PermanentError                  the same call will fail again
        ├── ForeignLeaderError          the leader is none of the declared masters
        ├── AuthenticationError         401 or 403
        ├── FrameworkRemovedError       masters have completed this framework
        ├── CallRefusedError            400 and other refusals, with the master's own words
        │   └── NotFoundError           404
        └── ProtocolError               an answer that is not Mesos' (HTML, cut stream, wrong shape)

Messages say what was expected, what was seen and what to do; credentials are never part of them.
"""

from __future__ import annotations

from collections.abc import Sequence


class MesosError(Exception):
    """Root of this package's errors."""


class RetryableError(MesosError):
    """The same call may succeed later."""


class PermanentError(MesosError):
    """The same call will fail again."""


class NoLeaderError(RetryableError):
    """Masters answer, but none of them leads."""


class UnreachableError(RetryableError):
    """No master answered in time."""


class SubscriptionLostError(RetryableError):
    """A framework's event stream has ended, and calls of that stream with it."""


class ForeignLeaderError(PermanentError):
    """The leader is none of the declared masters: another cluster's is projected there."""

    def __init__(self, *, leader: str, declared: Sequence[str]) -> None:
        self.leader = leader
        self.declared = tuple(declared)
        super().__init__(
            f"expected the leader to be one of {', '.join(declared)}, saw {leader}: these masters "
            "follow another cluster's leader; declare that cluster, or pass follow_projection=True"
        )


class AuthenticationError(PermanentError):
    """The credential is missing or wrong, or may not do this."""


class FrameworkRemovedError(PermanentError):
    """Masters have completed this framework: it cannot come back under its id."""


class CallRefusedError(PermanentError):
    """The master refused the call."""

    def __init__(self, call: str, status: int, text: str) -> None:
        self.call = call
        self.status = status
        self.text = text
        super().__init__(
            f"expected {call} to be accepted, saw {status}: {text or 'no text'}. "
            "Change what is asked for as these words say"
        )


class NotFoundError(CallRefusedError):
    """What the call names does not exist."""


class ProtocolError(PermanentError):
    """An answer that no Mesos master gives."""
