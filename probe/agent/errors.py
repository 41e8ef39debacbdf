"""What can go wrong in the agent.

::

    AgentError
    ├── SettingsError        permanent: settings that cannot be used
    ├── AbsentError          permanent: what a collector looks at is not here, or not allowed
    ├── HttpError            somebody who is asked over HTTP
    │   ├── UnreachableError     retryable: no connection, or no answer in time
    │   ├── AnswerError          retryable: an answer that cannot be read
    │   └── RefusedError         permanent: an answer that says no; `status` says how
    ├── NetlinkError         retryable: the kernel refuses a question
    ├── OccupiedError        retryable: another one serves at a socket
    ├── StuckError           retryable: a step of a collector that did not end
    ├── NotGrantedError      permanent: an act that no grant allows
    └── NotRunningError      permanent: no agent answers at the status socket
"""

from __future__ import annotations

from typing import ClassVar


class AgentError(Exception):
    """Root of this package's errors."""

    retryable: ClassVar[bool] = False
    """Whether the same may succeed later without anybody changing anything."""


class SettingsError(AgentError):
    """Settings that cannot be used."""


class AbsentError(AgentError):
    """What a collector looks at is not here, or not allowed; `grant` says what would add it."""

    def __init__(self, message: str, *, grant: str) -> None:
        self.grant = grant
        super().__init__(message)


class HttpError(AgentError):
    """Somebody who is asked over HTTP does not give what is needed."""


class UnreachableError(HttpError):
    """No connection, or no answer in time."""

    retryable = True


class AnswerError(HttpError):
    """An answer that cannot be read."""

    retryable = True


class RefusedError(HttpError):
    """An answer that says no."""

    def __init__(self, message: str, *, status: int, retry_after_s: float | None = None) -> None:
        self.status = status
        self.retry_after_s = retry_after_s
        super().__init__(message)


class NetlinkError(AgentError):
    """The kernel refuses a question."""

    retryable = True

    def __init__(self, message: str, *, errno: int) -> None:
        self.errno = errno
        super().__init__(message)


class OccupiedError(AgentError):
    """Another one serves at a socket, or its path is that of something else."""

    retryable = True


class StuckError(AgentError):
    """A step of a collector did not give the event loop back."""

    retryable = True


class NotGrantedError(AgentError):
    """An act that no grant allows."""

    def __init__(self, message: str, *, control: str) -> None:
        self.control = control
        super().__init__(message)


class NotRunningError(AgentError):
    """No agent answers at the status socket."""
