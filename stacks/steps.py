"""What an update does, or would do, as values that contracts are checked against.

Names tell what a resource belongs to (components.base): `green-zookeeper-0` is of the ZooKeeper
tier of green, `frameworks-sample-0` of the frameworks, which have no colour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from stacks.topology import Color, Tier

ENGINE_PART = "engine"


class Op(StrEnum):
    """What a step does, as far as a contract cares. Replacing is told apart from creating."""

    SAME = "same"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    REPLACE = "replace"
    OTHER = "other"

    @classmethod
    def of(cls, word: str) -> Op:
        """From the engine's finer words."""
        if "replace" in word:
            return cls.REPLACE
        try:
            return cls(word)
        except ValueError:
            return cls.OTHER


@dataclass(frozen=True)
class Step:
    """What an update does, or would do, to one resource.

    `protect` is what holds afterwards (for a deletion: what held before). `color` is None for what
    belongs to no colour; `part` is a tier, `engine`, `gate`, `secrets`, or the name itself.
    """

    op: Op
    urn: str
    type: str
    name: str
    protect: bool = False
    keys: tuple[str, ...] = ()

    @property
    def color(self) -> Color | None:
        """Whose resource it is; None: nobody's alone."""
        head = self.name.partition("-")[0]
        return Color(head) if head in set(Color) else None

    @property
    def part(self) -> str:
        """What it is part of, by its name."""
        words = self.name.split("-")
        head = words[1] if self.color is not None and len(words) > 1 else words[0]
        if self.name.startswith("sync-engine"):
            return ENGINE_PART
        return head if head in set(Tier) else self.name


@dataclass(frozen=True)
class PreviewResult:
    """What an update would do; `plan_file` holds it for the update that follows."""

    steps: tuple[Step, ...]
    plan_file: Path | None = None

    @property
    def changes(self) -> tuple[Step, ...]:
        """Steps that touch something."""
        return tuple(step for step in self.steps if step.op is not Op.SAME)


@dataclass(frozen=True)
class UpResult:
    """What an update did. `outputs` are the stack's; `summary` counts resources by operation."""

    outputs: Mapping[str, Any]
    summary: Mapping[str, int]
    steps: tuple[Step, ...] = ()
