"""Figures: what was measured, against what goal and beside what else; as text and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_METRIC_WIDTH = 78
_CELL_WIDTH = 18


class Sense(StrEnum):
    """On which side of its target a figure should be."""

    AT_MOST = "<="
    AT_LEAST = ">="


@dataclass(frozen=True)
class Figure:
    """One measured value. `measured` is None when it could not be measured; `note` says why, or
    what else there is to know."""

    metric: str
    unit: str
    measured: float | None
    target: float | None = None
    sense: Sense = Sense.AT_MOST
    anchor: float | None = None
    """The same figure of what it is compared with, in the same unit."""
    anchor_name: str = ""
    note: str = ""

    @property
    def ok(self) -> bool | None:
        """Whether the target is met; None for a figure without one."""
        if self.measured is None:
            return False
        if self.target is None:
            return None
        if self.sense is Sense.AT_MOST:
            return self.measured <= self.target
        return self.measured >= self.target

    @property
    def ratio(self) -> float | None:
        """How many times better than the anchor; None without one."""
        if not self.measured or not self.anchor:
            return None
        is_less_better = self.sense is Sense.AT_MOST
        return self.anchor / self.measured if is_less_better else self.measured / self.anchor


def as_dict(figure: Figure) -> dict[str, Any]:
    """For JSON; the same keys in every benchmark of this project."""
    return {
        "metric": figure.metric,
        "unit": figure.unit,
        "target": figure.target,
        "measured": figure.measured if figure.measured is None else round(figure.measured, 3),
        "anchor": figure.anchor if figure.anchor is None else round(figure.anchor, 3),
        "ok": figure.ok,
    }


def as_json(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """The whole of a run."""
    return [as_dict(figure) for figure in figures]


def head() -> str:
    """The line above all figures."""
    cells = "".join(f"{name:<{_CELL_WIDTH}}" for name in ("target", "measured"))
    return f"     {'metric':<{_METRIC_WIDTH}} {cells}anchor"


def as_text(figure: Figure) -> str:
    """One line for a figure, and one for its note."""
    mark = {True: "ok  ", False: "MISS", None: "    "}[figure.ok]
    target = "" if figure.target is None else f"{figure.sense} {_value(figure.target, figure.unit)}"
    measured = "-" if figure.measured is None else _value(figure.measured, figure.unit)
    anchor = ""
    if figure.anchor is not None:
        times = "" if figure.ratio is None else f" ({figure.ratio:.1f} x)"
        anchor = f"{_value(figure.anchor, figure.unit)}{times} {figure.anchor_name}".rstrip()
    line = (
        f"{mark} {figure.metric:<{_METRIC_WIDTH}} {target:<{_CELL_WIDTH}}"
        f"{measured:<{_CELL_WIDTH}}{anchor}"
    ).rstrip()
    return f"{line}\n       {figure.note}" if figure.note else line


def _value(value: float, unit: str) -> str:
    digits = 0 if value == int(value) or abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()
