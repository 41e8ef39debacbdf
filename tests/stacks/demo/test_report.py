"""The report says first what does not hold, and carries the same as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from stacks.demo import figures, proofs, report
from stacks.demo.observations import Observations
from stacks.demo.report import Report
from tests.stacks.demo.observed import kept


def made(seen: Observations, problem: str | None = None, logs: Path | None = None) -> Report:
    return Report(tuple(proofs.prove(seen)), tuple(figures.figures(seen)), problem, logs)


def test_a_report_passes_only_when_every_proof_holds() -> None:
    spoilt = kept()
    spoilt.audits.pop()

    assert made(kept()).ok
    assert not made(spoilt).ok
    assert not made(kept(), problem="stopped").ok
    assert not Report((), ()).ok


def test_failed_proofs_come_first_and_say_where_logs_are() -> None:
    seen = kept()
    seen.audits.pop()

    lines = report.as_text(made(seen, logs=Path("build/demo/logs"))).splitlines()

    assert lines[0] == "1 of 12 proofs do not hold:"
    assert lines[1].startswith("  FAIL audits: 4 audits")
    assert lines[-1] == "Logs of every process: build/demo/logs"


def test_what_stopped_the_demo_is_the_first_line() -> None:
    text = report.as_text(made(Observations(), problem="guard 'audit' does not hold"))

    assert text.startswith("The demo stopped: guard 'audit' does not hold")


def test_a_figure_stands_beside_its_goal() -> None:
    lines = report.as_text(made(kept())).splitlines()

    gap = next(line for line in lines if "time without a leader" in line)
    assert "1.5 s  goal <= 10 s, met" in gap
    assert "All 12 proofs hold." in lines


def test_files_hold_the_same_report(tmp_path: Path) -> None:
    text, document, samples = report.write(made(kept()), kept(), tmp_path / "build")

    read = json.loads(document.read_text())
    assert read["ok"] is True
    assert {proof["name"] for proof in read["proofs"]} >= {"tasks lost", "audits"}
    assert next(f for f in read["figures"] if f["name"] == "whole demo")["ok"] is True
    assert read["observations"]["tasks"] == len(kept().tasks)
    assert text.read_text() == report.as_text(made(kept()))
    kinds = {json.loads(line)["kind"] for line in samples.read_text().splitlines()}
    assert kinds == {"tasks", "apps", "engine", "traffic"}
