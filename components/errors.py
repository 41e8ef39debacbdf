"""Errors of the components and of the host targets.

ComponentError
├── ArgumentsError          arguments that no such component can have (said before any resource)
├── TargetError             a host target could not do what a resource asks for
│   ├── PortInUseError      another process listens where a workload should
│   ├── NotReadyError       a workload did not become ready within its bound
│   ├── ProcessExitedError  a process ends again and again
│   ├── RunFolderError      the folder of a local stack is not ours, or cannot be removed
│   └── SupervisorError     the supervisor of local processes does not do its work
└── ObjectError             a run-time object of a cluster could not be made what is declared
    ├── AlreadyThereError   somebody else has made one there, and it is another
    ├── ForeignContentError it holds what was not declared, which would be removed
    ├── UnknownAgentError   no agent of that id is known
    ├── DrainTimeoutError   an agent was not drained in time
    ├── RolloutError        a version was not rolled out, or was taken back
    └── NotConvergedError   it does not stay what it is made

Every message says what was expected, what was seen and what to do.
"""

from __future__ import annotations


class ComponentError(Exception):
    """A component cannot be declared or realised."""


class ArgumentsError(ComponentError, ValueError):
    """Arguments that no such component can have."""


class TargetError(ComponentError):
    """A host target could not do what a resource asks for."""


class PortInUseError(TargetError):
    """Another process listens where a workload should."""

    def __init__(self, *, name: str, port: int, owner: str) -> None:
        super().__init__(
            f"{name}: expected port {port} on 127.0.0.1 to be free, saw it in use by {owner}. "
            "Stop that process, or give the stack another `mesos-platform:local` port_base"
        )
        self.name = name
        self.port = port
        self.owner = owner


class NotReadyError(TargetError):
    """A workload did not become ready within its bound."""


class ProcessExitedError(TargetError):
    """A process ends again and again."""


class RunFolderError(TargetError):
    """The folder of a local stack is not ours, or cannot be removed."""


class SupervisorError(TargetError):
    """The supervisor of local processes does not do its work."""


class ObjectError(ComponentError):
    """A run-time object of a cluster could not be made what is declared."""


class AlreadyThereError(ObjectError):
    """Somebody else has made one there, and it is another."""

    def __init__(self, *, what: str, seen: str) -> None:
        super().__init__(
            f"expected {what} to be free, saw {seen}: remove that first, or declare it with "
            "adopt=True to take it over"
        )


class ForeignContentError(ObjectError):
    """It holds what was not declared, which would be removed."""


class UnknownAgentError(ObjectError):
    """No agent of that id is known."""


class DrainTimeoutError(ObjectError):
    """An agent was not drained in time."""


class RolloutError(ObjectError):
    """A version was not rolled out, or was taken back."""


class NotConvergedError(ObjectError):
    """It does not stay what it is made: somebody else writes it too."""
