"""What the last run saw, case by case in `build/robustness/matrix/`, and the table made of it:
`python -m tests.robustness.matrix.report` writes it into `docs/faults.md`, and leaves the rest of
that page, which is kept by hand, as it is.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import asdict
from typing import Any, cast

from tests.robustness import seeds
from tests.robustness.matrix.cases import CASES, Case
from tests.robustness.matrix.driver import Seen
from tests.robustness.rig import CHECKOUT

FOLDER = CHECKOUT / "build" / "robustness" / "matrix"
PAGE = CHECKOUT / "docs" / "faults.md"
BEGIN = "<!-- the last run: python -m tests.robustness.matrix.report -->"
END = "<!-- the end of the last run -->"
HEAD = (
    "fault",
    "what is done",
    "expected",
    "seen",
    "writes acknowledged (unknown)",
    "conflicts",
    "recovered in",
    "digests",
)
_TOLD_MAX = 160


@contextlib.contextmanager
def noted(case: Case, seed: int) -> Generator[Callable[[Seen], None]]:
    """Write down what becomes of a case, whatever it is."""
    found = Seen(case.name, seed)

    def note(seen: Seen) -> None:
        nonlocal found
        found = seen

    try:
        yield note
    except BaseException as error:
        found.problems.append(_told(error))
        raise
    finally:
        FOLDER.mkdir(parents=True, exist_ok=True)
        result = {"base": seeds.base(), "at": time.time(), **asdict(found)}
        _file(case).write_text(json.dumps(result, indent=2) + "\n")


def _told(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return f"{type(error).__name__}: {str(error)[:300]}"


def _file(case: Case) -> Any:
    name = "".join(letter if letter.isalnum() else "-" for letter in case.name)
    return FOLDER / f"{name}.json"


def row(case: Case, result: dict[str, Any] | None) -> tuple[str, ...]:
    """A case's line of the table."""
    told = (case.name, case.does, case.expects.value)
    if result is None:
        return (*told, "not run", "", "", "", "")
    if result["problems"]:
        return (*told, f"**failed**: {_short(result['problems'][0])}", "", "", "", "")
    seen = "as expected" if result["said"] is None else f"as expected: “{_short(result['said'])}”"
    writes = f"{result['acknowledged']} ({result['unknown']})"
    digests = "equal" if result["equal"] else "**differ**"
    recovered = f"{result['recovered_s']:.1f} s"
    return (*told, seen, writes, str(result["conflicts"]), recovered, digests)


def _short(text: str) -> str:
    line = " ".join(text.split()).replace("|", "¦")
    return line if len(line) <= _TOLD_MAX else line[: _TOLD_MAX - 1] + "…"


def table(rows: Iterable[tuple[str, ...]]) -> str:
    """A table of Markdown."""
    lines = [HEAD, ("---",) * len(HEAD), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def render(results: dict[str, dict[str, Any]]) -> str:
    """The part of the page that is generated, between its marks."""
    bases = sorted({str(result["base"]) for result in results.values()})
    bad = [name for name, result in results.items() if result["problems"]]
    seconds = sum(result["seconds"] for result in results.values())
    summary = (
        f"{len(results)} of {len(CASES)} cases run, {len(bad)} not as expected; seed "
        f"{', '.join(bases) or 'none'}; {seconds / 60:.0f} minutes."
    )
    rows = table(row(case, results.get(case.name)) for case in CASES)
    return f"{BEGIN}\n{summary}\n\n{rows}\n{END}"


def replaced(page: str, part: str) -> str:
    """The page with another generated part."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + part + after


def main() -> int:
    """Write the page; exit status 1 where a case was not run or was not as expected."""
    results: dict[str, dict[str, Any]] = {
        case.name: json.loads(_file(case).read_text()) for case in CASES if _file(case).exists()
    }
    PAGE.write_text(replaced(PAGE.read_text(), render(results)))
    bad = [case.name for case in CASES if results.get(case.name, {"problems": 1})["problems"]]
    if bad:
        sys.stderr.write(f"not run, or not as expected: {', '.join(bad)}\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
