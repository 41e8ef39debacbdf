"""One alert rule, as a value; which there are says components.monitoring.alerts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """Whether somebody is woken."""

    CRITICAL = "critical"
    WARNING = "warning"


@dataclass(frozen=True)
class Alert:
    """A rule: fires when `expr` has a sample for `hold`, a duration of Prometheus."""

    name: str
    expr: str
    hold: str
    severity: Severity
    summary: str
    meaning: str

    def rule(self) -> dict[str, Any]:
        """As Prometheus takes it."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.hold,
            "labels": {"severity": str(self.severity)},
            "annotations": {"summary": self.summary, "description": self.meaning},
        }
