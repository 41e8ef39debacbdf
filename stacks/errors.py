"""Errors of a stack: its configuration, and what its updates may end with.

StackError
├── ConfigError             stack configuration is wrong; says the key, where, and what it may be
├── EngineMissingError      there is no Pulumi engine on this machine
├── StackMissingError       the stack was never initialised
├── StateUnreadableError    what the backend keeps of the stack is no state (cut off, edited)
├── WrongPassphraseError    the stack's secrets cannot be read with the passphrase given
├── ConcurrentUpdateError   another update holds the stack (retryable)
├── GateRefusedError        the gate refuses the move; nothing has changed
├── ProtectedError          an update wants to remove what is protected; nothing of it was removed
├── ResourceFailedError     a resource could not be made so (retryable once its cause is mended)
└── UpdateFailedError       the engine failed in another way

Every message says what was expected, what was seen and what to do. `retryable` tells whether the
same update may succeed without a change of configuration.
"""

from __future__ import annotations


def disk_trouble(error: OSError) -> str:
    """What to tell a person of a file that could not be read or written."""
    said = error.strerror or str(error) or type(error).__name__
    if isinstance(error, (ConnectionError, TimeoutError)):
        return f"expected an answer, saw: {said}. Call this again"
    place = error.filename or "a file"
    return f"expected to use {place}, saw: {said}. Make space, or check the owner"


class StackError(Exception):
    """A stack cannot be read, previewed or updated."""

    retryable = False


class ConfigError(StackError, ValueError):
    """Stack configuration is wrong."""


class EngineMissingError(StackError):
    """There is no Pulumi engine on this machine."""


class StackMissingError(StackError):
    """The stack was never initialised."""


class StateUnreadableError(StackError):
    """What the backend keeps of the stack is no state."""


class WrongPassphraseError(StackError):
    """The stack's secrets cannot be read with the passphrase given."""


class ConcurrentUpdateError(StackError):
    """Another update holds the stack."""

    retryable = True


class GateRefusedError(StackError):
    """The gate refuses the move; nothing has changed."""


class ProtectedError(StackError):
    """An update wants to remove what is protected."""


class ResourceFailedError(StackError):
    """A resource could not be made so. Carries its name and what it said."""

    retryable = True

    def __init__(self, resource: str, reason: str) -> None:
        super().__init__(f"resource {resource!r} failed: {reason}")
        self.resource = resource
        self.reason = reason


class UpdateFailedError(StackError):
    """The engine failed in a way that has no name here; carries its own words."""

    retryable = True
