"""Lines of real programs, joined to events as Filebeat joins them, and taken apart as Elasticsearch
does: by its own library where it is there, else by the same patterns in Python.
"""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from components.monitoring.log_lines import DEFINITIONS, Lines, as_python
from tools import locate
from tools.recipes import ELASTICSEARCH_GROK

FOLDER = Path(__file__).parents[2] / "fixtures" / "logs"
_DRIVER = Path(__file__).with_name("Grokking.java")
START_S_MAX = 240.0
"""It is compiled as it starts, which on a busy machine takes its time."""
_QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
Fields = dict[str, str]


def lines(name: str) -> list[str]:
    return (FOLDER / name).read_text().splitlines()


def joined(kind: Lines, written: Sequence[str]) -> list[str]:
    """Events: what does not begin one belongs to the one before."""
    events: list[str] = []
    for line in written:
        if re.search(kind.begins, line) or not events:
            events.append(line)
        else:
            events[-1] += f"\n{line}"
    return events


def by_python(kind: Lines, event: str) -> Fields | None:
    """By the first pattern that matches; None where there is none."""
    for pattern in kind.patterns:
        found = as_python(pattern).search(event)
        if found is not None:
            named = found.groupdict().items()
            return {key.replace("__", "."): value for key, value in named if value is not None}
    return None


def by_elasticsearch(asked: Mapping[Lines, Sequence[str]]) -> dict[Lines, list[Fields | None]]:
    """By the library that Elasticsearch has in it, each kind's events in their order.

    Raises:
        ToolMissingError: it was not fetched.
    """
    jars = locate.folder(ELASTICSEARCH_GROK.full_name) / "lib"
    given = [f"definition {name} {_encoded(text)}" for name, text in DEFINITIONS.items()]
    for kind, events in asked.items():
        given += [f"pattern {_encoded(pattern)}" for pattern in kind.patterns]
        given += [f"text {_encoded(event)}" for event in events]
    done = subprocess.run(
        [locate.java() or "java", *_QUICK, "-cp", f"{jars}/*", str(_DRIVER)],
        input="\n".join(given),
        capture_output=True,
        text=True,
        check=False,
        timeout=START_S_MAX,
    )
    assert done.returncode == 0, done.stderr
    blocks = iter(done.stdout.split("\n\n"))
    return {kind: [_fields(next(blocks)) for _ in events] for kind, events in asked.items()}


def _fields(block: str) -> Fields | None:
    return None if block == "-" else dict(map(_field, block.splitlines()))


def _field(line: str) -> tuple[str, str]:
    name, value = (base64.b64decode(word).decode() for word in line.split(" "))
    return name, value


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
