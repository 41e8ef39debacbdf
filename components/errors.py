"""Errors of the components and of the host targets.

ComponentError
├── ArgumentsError          arguments that no such component can have (said before any resource)
└── TargetError             a host target could not do what a resource asks for
    ├── PortInUseError      another process listens where a workload should
    ├── NotReadyError       a workload did not become ready within its bound
    ├── ProcessExitedError  a process ends again and again
    ├── RunFolderError      the folder of a local stack is not ours, or cannot be removed
    └── SupervisorError     the supervisor of local processes does not do its work

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
