"""The page of faults lists exactly the cases that there are, each as it is declared."""

from __future__ import annotations

from tests.robustness.matrix import report
from tests.robustness.matrix.cases import CASES


def _rows() -> list[list[str]]:
    part = report.PAGE.read_text().partition(report.BEGIN)[2].partition(report.END)[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_has_the_columns_that_a_run_fills() -> None:
    assert _rows()[0] == list(report.HEAD)


def test_the_page_lists_exactly_the_cases() -> None:
    declared = [[case.name, case.does, case.expects.value] for case in CASES]

    assert [row[:3] for row in _rows()[2:]] == declared


def test_cases_have_names_of_their_own() -> None:
    names = [case.name for case in CASES]

    assert len(set(names)) == len(names)
