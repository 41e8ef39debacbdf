"""The page on the report says what the report has."""

from __future__ import annotations

import re
from pathlib import Path

from probe.report import reference, wire
from probe.report.schema import Type
from probe.report.topologies import TOPOLOGIES

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "report.md").read_text()


def test_every_topology_and_column_stands_in_the_page() -> None:
    _, _, tables = PAGE.partition("a counter only grows while its node lives.\n\n")

    assert tables.strip() == reference.tables().strip(), (
        "write it anew: python -m probe.report.reference"
    )


def test_the_page_names_the_fields_of_a_frame_in_their_order() -> None:
    (told,) = re.findall(r"^\[(kind, .*)\]$", PAGE, re.MULTILINE)

    assert told.split(", ") == list(wire.Frame.__struct_fields__)


def test_references_lead_to_topologies_and_nothing_else_has_a_target() -> None:
    for topology in TOPOLOGIES.values():
        names = [column.name for column in topology.columns]
        assert len(names) == len(set(names))
        for column in topology.columns:
            assert (column.type is Type.REF) is (column.target in TOPOLOGIES)
            assert column.meaning.endswith(".")
