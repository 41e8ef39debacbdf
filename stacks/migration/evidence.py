"""What a guard, a proof or an act saw: never a bare yes or no.

Evidence carries its numbers and where they came from, so that a person who reads the journal a year
later can judge it. It holds no secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Numbers = Mapping[str, Any]


@dataclass(frozen=True)
class Evidence:
    """One finding. `told_by` is the endpoint or file that `numbers` came from. What nobody has
    `looked` at, because there was nothing that could have told, neither holds nor fails."""

    name: str
    ok: bool
    said: str
    numbers: Numbers = field(default_factory=dict[str, Any])
    told_by: str = ""
    looked: bool = True

    def as_dict(self) -> dict[str, Any]:
        """For the journal and for JSON output."""
        found: dict[str, Any] = {
            "name": self.name,
            "ok": self.ok,
            "said": self.said,
            "numbers": dict(self.numbers),
            "told_by": self.told_by,
        }
        return found if self.looked else {**found, "looked": False}


@dataclass(frozen=True)
class Findings:
    """What a step brought to light: findings, and numbers that later steps or reports need."""

    evidence: tuple[Evidence, ...] = ()
    numbers: Numbers = field(default_factory=dict[str, Any])

    @property
    def failed(self) -> Evidence | None:
        """The first finding that does not hold."""
        return next((one for one in self.evidence if not one.ok), None)

    def as_dict(self) -> dict[str, Any]:
        """For the journal."""
        found: dict[str, Any] = dict(self.numbers)
        if self.evidence:
            found["findings"] = [one.as_dict() for one in self.evidence]
        return found
