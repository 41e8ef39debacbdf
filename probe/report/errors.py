"""What can be wrong with a report.

::

    ReportError
    ├── DecodeError         permanent: bytes that are no frame, or a frame that contradicts itself
    │   ├── VersionError    permanent: a frame of another version of the protocol
    │   └── TooLargeError   permanent: more than a frame may hold
    ├── GapError            retryable: a frame is missing before this one; a snapshot mends it
    └── ScopeReportError    permanent: a document that is no report of Scope

Messages say what was expected, what was seen and what to do; they never hold more than the
beginning of what came from outside.
"""

from __future__ import annotations

from typing import ClassVar


class ReportError(Exception):
    """Root of this package's errors."""

    retryable: ClassVar[bool] = False
    """Whether the stream can go on, after a snapshot, without anybody changing anything."""


class DecodeError(ReportError):
    """Bytes that are no frame, or a frame that contradicts itself or what came before it."""


class VersionError(DecodeError):
    """A frame of another version of the protocol."""

    def __init__(self, *, expected: int, seen: int) -> None:
        self.expected = expected
        self.seen = seen
        super().__init__(
            f"expected a frame of version {expected}, saw version {seen}: run probe and app of "
            "one release"
        )


class TooLargeError(DecodeError):
    """More than a frame may hold."""


class GapError(ReportError):
    """A frame is missing before this one."""

    retryable = True

    def __init__(self, *, expected: int | None, seen: int) -> None:
        self.expected = expected
        self.seen = seen
        wanted = "a snapshot first" if expected is None else f"frame {expected}"
        super().__init__(f"expected {wanted}, saw frame {seen}: ask the probe for a snapshot")


class ScopeReportError(ReportError):
    """A document that is no report of Weave Scope."""
