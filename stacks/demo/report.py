"""The report: text for people, JSON for programs. Failed proofs come first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stacks.demo.figures import Figure
from stacks.demo.observations import Observations
from stacks.demo.proofs import Proof

_NAME_WIDTH = 52


@dataclass(frozen=True)
class Report:
    """What the demo came to. `problem` is what stopped it, where something did; `logs` are kept
    only then."""

    proofs: tuple[Proof, ...]
    figures: tuple[Figure, ...]
    problem: str | None = None
    logs: Path | None = None

    @property
    def ok(self) -> bool:
        """Whether every proof holds."""
        return self.problem is None and bool(self.proofs) and all(p.ok for p in self.proofs)


def as_dict(report: Report, seen: Observations) -> dict[str, Any]:
    """For JSON."""
    return {
        "ok": report.ok,
        "problem": report.problem,
        "logs": str(report.logs) if report.logs else None,
        "proofs": [asdict(proof) for proof in report.proofs],
        "figures": [{**asdict(figure), "ok": figure.ok} for figure in report.figures],
        "observations": seen.as_dict(),
    }


def as_text(report: Report) -> str:
    """For people."""
    lines: list[str] = []
    failed = [proof for proof in report.proofs if not proof.ok]
    if report.problem is not None:
        lines += [f"The demo stopped: {report.problem}", ""]
    if failed:
        lines += [f"{len(failed)} of {len(report.proofs)} proofs do not hold:"]
        lines += [_proof_line(proof) for proof in failed]
        lines += [""]
    held = [proof for proof in report.proofs if proof.ok]
    if held:
        lines += ["Proofs that hold", *(_proof_line(proof) for proof in held), ""]
    shown = [figure for figure in report.figures if figure.measured is not None]
    if shown:
        lines += ["Figures", *(_figure_line(figure) for figure in shown), ""]
    if report.ok:
        lines += [f"All {len(report.proofs)} proofs hold."]
    elif report.logs is not None:
        lines += [f"Logs of every process: {report.logs}"]
    return "\n".join(lines) + "\n"


def _proof_line(proof: Proof) -> str:
    mark = "ok  " if proof.ok else "FAIL"
    return f"  {mark} {proof.name}: {proof.seen} (expected: {proof.expected})"


def _figure_line(figure: Figure) -> str:
    goal = ""
    if figure.goal is not None:
        word = "met" if figure.ok else "MISSED"
        goal = f"  goal <= {figure.goal:g} {figure.unit}, {word}".replace(" ,", ",")
    note = f"  ({figure.note})" if figure.note else ""
    value = f"{figure.measured:g} {figure.unit}".rstrip()
    return f"  {figure.name:<{_NAME_WIDTH}} {value:>12}{goal}{note}"


def write(report: Report, seen: Observations, folder: Path) -> Sequence[Path]:
    """Write both forms, and the samples; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    text, document = folder / "report.txt", folder / "report.json"
    text.write_text(as_text(report))
    document.write_text(json.dumps(as_dict(report, seen), indent=2, default=str) + "\n")
    samples = folder / "samples.jsonl"
    with samples.open("w") as file:
        for kind in ("tasks", "apps", "engine", "traffic"):
            for sample in getattr(seen, kind):
                file.write(json.dumps({"kind": kind, **asdict(sample)}) + "\n")
    return text, document, samples
