"""When a volume is copied, and which copies are let go.

A copy that is not finished holds the next one back. One that failed stays to be looked at, and
another is tried no sooner than `RETRY_S` after it: whatever keeps a cluster from making copies
must not fill it with failed ones. The newest that is good is never let go, however many were asked
for. Values only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

RETRY_S = 3600.0
"""Between a copy that failed and the next try, where copies are not due more often anyway."""


@dataclass(frozen=True)
class Copy:
    """A VolumeSnapshot of a claim. `made_at` is in seconds since 1970."""

    name: str
    claim: str
    made_at: float
    is_ready: bool
    error: str | None = None


@dataclass(frozen=True)
class Make:
    """Copy a claim's volume."""

    claim: str
    name: str


@dataclass(frozen=True)
class LetGo:
    """Remove a copy."""

    name: str


Call = Make | LetGo


def calls(
    claims: Sequence[str], copies: Sequence[Copy], *, now: float, every_s: float, keep: int
) -> tuple[Call, ...]:
    """What to do now so that each claim is copied every `every_s`, and `keep` copies stay."""
    return tuple(
        call
        for claim in sorted(claims)
        for call in _of_claim(claim, [c for c in copies if c.claim == claim], now, every_s, keep)
    )


def _of_claim(
    claim: str, copies: Sequence[Copy], now: float, every_s: float, keep: int
) -> Iterator[Call]:
    pending = [copy for copy in copies if not copy.is_ready and copy.error is None]
    good = sorted((copy for copy in copies if copy.is_ready), key=lambda copy: -copy.made_at)
    is_due = not good or now - good[0].made_at >= every_s
    failed = [copy.made_at for copy in copies if not copy.is_ready and copy.error is not None]
    has_rested = not failed or now - max(failed) >= min(every_s, RETRY_S)
    if is_due and has_rested and not pending:
        moment = datetime.fromtimestamp(now, UTC)
        yield Make(claim, f"{claim}-{moment:%Y%m%d-%H%M%S}")
    for copy in good[max(keep, 1) :]:
        yield LetGo(copy.name)
