"""What the repository must not hold: hosts of registries, places of one machine, secrets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tidy.conftest import CHECKOUT

# Written apart, because this file is looked at too.
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("maven", "apache", "org"),
        ("maven", "org"),
        ("proxy", "golang", "org"),
        ("sum", "golang", "org"),
        ("crates", "io"),
        ("rubygems", "org"),
    )
)
OTHERS_PLACES = re.compile(r"(?<![\w.}*\-])/(?:root|home|work|Users)/\w")
SECRETS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----|AKIA[0-9A-Z]{16}")
# A commit, a branch, a tracker: what is true of the code stands in the code.
LEFTOVERS = re.compile(r"\b(?:FIXME|XXX|TODO)\b")
THIS = Path("tests/tidy/test_texts.py")
# What another project recorded on its own machine, unchanged.
RECORDED = Path("tests/fixtures/scope/report.json")


@pytest.fixture(scope="module")
def texts(files: list[Path]) -> dict[Path, str]:
    return {path: (CHECKOUT / path).read_text(errors="replace") for path in files if path != THIS}


def found(texts: dict[Path, str], pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()[:120]}"
        for path, text in texts.items()
        if pattern.search(text)
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_host_of_a_package_registry_is_named(texts: dict[Path, str]) -> None:
    assert not found(texts, re.compile("|".join(map(re.escape, REGISTRIES))))


def test_no_place_of_one_machine_is_named(texts: dict[Path, str]) -> None:
    ours = {path: text for path, text in texts.items() if path != RECORDED}

    assert not found(ours, OTHERS_PLACES)


def test_no_secret_is_kept(texts: dict[Path, str]) -> None:
    assert not found(texts, SECRETS)


def test_nothing_is_left_for_later_in_a_comment(texts: dict[Path, str]) -> None:
    assert not found(texts, LEFTOVERS)


def test_every_text_file_ends_in_one_new_line(texts: dict[Path, str]) -> None:
    plain = {p: t for p, t in texts.items() if p.suffix in {".py", ".pyi", ".md", ".toml", ".yaml"}}
    assert not [
        str(p) for p, t in plain.items() if t and (not t.endswith("\n") or t[-2:] == "\n\n")
    ]
