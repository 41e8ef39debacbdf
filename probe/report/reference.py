"""The tables of `docs/reference/report.md`, from the topologies themselves.

`python -m probe.report.reference` prints them; a test holds the page to them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from probe.report.schema import Column, Role
from probe.report.topologies import TOPOLOGIES


def tables() -> str:
    """One section a topology."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    for topology in TOPOLOGIES.values():
        yield f"### `{topology.name}`: {topology.label}"
        yield ""
        yield f"Identity: {topology.identity}."
        yield ""
        yield "| column | type | meaning |"
        yield "|---|---|---|"
        for column in topology.columns:
            yield f"| `{column.name}` | {_type(column)} | {column.meaning} |"
        yield ""


def _type(column: Column) -> str:
    parts = [column.type.value]
    if column.target:
        parts.append(f"to `{column.target}`")
    if column.unit:
        parts.append(f"in {column.unit}")
    if column.role is not Role.FACT:
        parts.append(f"({column.role.value})")
    return " ".join(parts)


if __name__ == "__main__":
    sys.stdout.write(tables())
