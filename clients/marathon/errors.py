"""What can go wrong when talking to Marathon.

::

    MarathonError
    ├── RetryableError                  the same request may succeed later
    │   ├── NoLeaderError               instances answer, none leads
    │   ├── UnreachableError            no instance answered in time
    │   ├── StreamEndedError            the event stream ended: subscribe again
    │   ├── LockedError                 409: a deployment holds what the request names
    │   └── TooManyDeploymentsError     403: Marathon runs as many as it may
    └── PermanentError                  the same request will fail again
        ├── ForeignLeaderError          the leader is none of the declared instances
        ├── AuthenticationError         401 or 403
        ├── DefinitionError             a definition that this platform does not send
        ├── RequestRefusedError         400 and other refusals, with Marathon's own words
        │   ├── InvalidError            422: which field is wrong, and why
        │   └── NotFoundError           404
        ├── DeploymentFailedError       a deployment ended without success
        │   └── DeploymentTimeoutError  it did not end in time, and was rolled back
        └── ProtocolError               an answer that is not Marathon's (HTML, cut stream)

Messages say what was expected, what was seen and what to do; credentials are never part of them.
"""

from __future__ import annotations

from collections.abc import Sequence


class MarathonError(Exception):
    """Root of this package's errors."""


class RetryableError(MarathonError):
    """The same request may succeed later."""


class PermanentError(MarathonError):
    """The same request will fail again."""


class NoLeaderError(RetryableError):
    """Instances answer, but none of them leads."""


class UnreachableError(RetryableError):
    """No instance answered in time."""


class StreamEndedError(RetryableError):
    """The event stream ended, or was silent for too long."""


class LockedError(RetryableError):
    """A deployment holds what the request names. It is never forced: that breaks the deployment."""

    def __init__(self, what: str, deployments: Sequence[str]) -> None:
        self.what = what
        self.deployments = tuple(deployments)
        named = ", ".join(deployments) or "one that it does not name"
        super().__init__(
            f"expected {what} to be taken, saw it locked by deployment {named}: wait until that "
            "has ended, or roll it back with DELETE /v2/deployments/<id>"
        )


class TooManyDeploymentsError(RetryableError):
    """Marathon runs as many deployments as it may."""


class ForeignLeaderError(PermanentError):
    """The leader is none of the declared instances."""

    def __init__(self, *, leader: str, declared: Sequence[str]) -> None:
        self.leader = leader
        self.declared = tuple(declared)
        super().__init__(
            f"expected the leader to be one of {', '.join(declared)}, saw {leader}: these "
            "instances belong to another cluster's Marathon; declare that one"
        )


class AuthenticationError(PermanentError):
    """The credential is missing or wrong, or may not do this."""


class DefinitionError(PermanentError):
    """A definition that this platform does not send, because Marathon would not do what it says."""


class RequestRefusedError(PermanentError):
    """Marathon refused the request."""

    def __init__(self, what: str, status: int, text: str) -> None:
        self.what = what
        self.status = status
        self.text = text
        super().__init__(
            f"expected {what} to be taken, saw {status}: {text or 'no text'}. "
            "Change what is asked for as these words say"
        )


class InvalidError(RequestRefusedError):
    """A definition is not valid. `details` are (path, what is wrong there)."""

    def __init__(self, what: str, text: str, details: Sequence[tuple[str, str]]) -> None:
        self.details = tuple(details)
        named = "; ".join(f"{path}: {wrong}" for path, wrong in details)
        super().__init__(what, 422, f"{text} ({named})" if named else text)


class NotFoundError(RequestRefusedError):
    """What the request names does not exist."""


class DeploymentFailedError(PermanentError):
    """A deployment ended without success."""


class DeploymentTimeoutError(DeploymentFailedError):
    """A deployment did not end in time. `rolled_back` says whether its undoing has ended."""

    def __init__(
        self, what: str, deployment_id: str, timeout_s: float, *, rolled_back: bool, reasons: str
    ) -> None:
        self.deployment_id = deployment_id
        self.rolled_back = rolled_back
        undone = "it was rolled back" if rolled_back else "its roll-back has not ended either"
        super().__init__(
            f"expected {what} to be deployed within {timeout_s:g} s, saw deployment "
            f"{deployment_id} still running; {undone}. {reasons}"
        )


class ProtocolError(PermanentError):
    """An answer that no Marathon gives."""
