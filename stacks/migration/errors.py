"""Errors of a migration.

MigrationError
├── PlanError               nothing to do, or no way from here to there
├── GuardFailedError        a guard said no; the stack stays where it is, both ways are open
├── ContractError           a preview wants to touch what its edge may not touch
├── StateChangedError       somebody changed the stack between preview and update
├── ActFailedError          an act did not come to its end within its bound (retryable: resume)
├── UnreachableError        a process that must answer does not (retryable: resume)
├── AgentsMissingError      masters know no agent of a colour, or too few (retryable: resume)
├── JournalError            the journal is unreadable, or tells another story than the stack
└── RunnerBusyError         another runner holds the lease

Every message says what was expected, what was seen and what to do. `retryable` tells whether
`migrate resume` may succeed without anybody changing anything.
"""

from __future__ import annotations

from collections.abc import Sequence

_TOLD_MAX = 4


class MigrationError(Exception):
    """Something stopped a migration."""

    retryable = False


class PlanError(MigrationError):
    """There is nothing to do, or no way from here to there."""


class GuardFailedError(MigrationError):
    """A guard said no. Carries the guard's name and what it saw."""

    def __init__(self, guard: str, reason: str) -> None:
        super().__init__(
            f"guard {guard!r} does not hold: {reason}. The stack stays where it is; mend the "
            "cause and run `migrate resume`, or go back with `migrate rollback`"
        )
        self.guard = guard
        self.reason = reason


class ContractError(MigrationError):
    """A preview wants to touch what its edge may not touch."""


class StateChangedError(MigrationError):
    """Somebody changed the stack between the preview and the update."""

    retryable = True


class ActFailedError(MigrationError):
    """An act did not come to its end within its bound."""

    retryable = True


class UnreachableError(MigrationError):
    """A process that must answer does not."""

    retryable = True


class AgentsMissingError(MigrationError):
    """Masters know no agent of a colour, or too few: nothing that is asked of them is an answer.

    Carries the colour, what was `expected` and the addresses of all agents that were `seen`;
    `lacking` says what of the expected is not there, nothing where none of them is.
    """

    retryable = True

    def __init__(
        self, color: str, expected: str, seen: Sequence[str], lacking: Sequence[str] = ()
    ) -> None:
        others = f"others: {_told(seen, ', ')}" if seen else "no agent at all"
        super().__init__(
            f"expected agents of {color} to be registered: {expected}; saw "
            f"{_told(lacking, '; ') or others}. See whether they run and which masters they follow"
        )
        self.color = color
        self.expected = expected
        self.seen = tuple(seen)
        self.lacking = tuple(lacking)


def _told(words: Sequence[str], between: str) -> str:
    more = len(words) - _TOLD_MAX
    return between.join(words[:_TOLD_MAX]) + (f"{between}{more} more" if more > 0 else "")


class JournalError(MigrationError):
    """The journal is unreadable, or tells another story than the stack."""


class RunnerBusyError(MigrationError):
    """Another runner holds the lease of this stack."""
