"""Whatever somebody writes, judging it takes time in proportion to its length.

Each pattern gets texts made of its own words, again and again, with an end that it does not take:
what may be split in two ways is then tried in all of them. Lengths are doubled up to what is longer
than anything that is read.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from probe.agent.redaction import shell_line
from probe.agent.secret_options import PROGRAMS
from probe.agent.secret_shapes import SHAPES

WORD_CHARS = 4_096
TEXT_CHARS = 16 * 1024
LINE_CHARS = 32 * 1024
# Twice the length takes twice the time, or four times where it is quadratic.
RATIO_MAX = 3.0
_MEASURABLE_S = 0.004
_LITERALS = re.compile(r"[A-Za-z0-9]+")
_ESCAPES = re.compile(r"\\[A-Za-z]|\{[\d,]*\}|\(\?[a-zA-Z<!=:]+")
_JOINTS = ("", "-", " ")


@dataclass(frozen=True)
class Hostile:
    """A text of any length, of one piece again and again."""

    piece: str
    begin: str = ""

    def text(self, chars: int) -> str:
        return (self.begin + self.piece * (chars // len(self.piece) + 1))[: chars - 1] + "!"


def hostile(pattern: re.Pattern[str], *begins: str) -> Iterator[Hostile]:
    """Texts that a pattern begins to match everywhere."""
    literals = dict.fromkeys(_LITERALS.findall(_ESCAPES.sub(" ", pattern.pattern)))
    pieces = ["a", "-", "a-", "a.", "://a:", "://a:b@", "=", "'"]
    pieces += [
        f"{joint}{one}" for one in [*literals, "".join(literals) or "x"] for joint in _JOINTS
    ]
    for piece in dict.fromkeys(pieces):
        for begin in ("", *begins):
            yield Hostile(piece, begin)


def seconds(call: Callable[[str], object], text: str) -> float:
    before = time.process_time()
    call(text)
    return time.process_time() - before


def assert_in_proportion(call: Callable[[str], object], of: Hostile, chars_max: int) -> None:
    chars = chars_max // 16
    while 2 * chars <= chars_max:
        ratios = [_ratio(call, of, chars)]
        if ratios[0] > RATIO_MAX:
            # A machine with other work is slow for a while: pairs are measured side by side.
            ratios += [_ratio(call, of, chars) for _ in range(8)]
        ratio = statistics.median(ratios)
        assert ratio <= RATIO_MAX, f"{2 * chars} characters take {ratio:.1f} times half's: {of}"
        chars *= 2


def _ratio(call: Callable[[str], object], of: Hostile, chars: int) -> float:
    """How much longer twice as many characters take; 0 for what is too short to be measured."""
    short, long = seconds(call, of.text(chars)), seconds(call, of.text(2 * chars))
    return 0.0 if long < _MEASURABLE_S else long / short


@pytest.mark.parametrize("name", [name for name, one in PROGRAMS.items() if one.words])
def test_a_word_of_a_program_is_judged_in_proportion_to_its_length(name: str) -> None:
    for pattern, _ in PROGRAMS[name].words:
        for one in hostile(pattern, "-"):
            assert_in_proportion(pattern.fullmatch, one, WORD_CHARS)


@pytest.mark.parametrize("name", [name for name, one in PROGRAMS.items() if one.clusters])
def test_options_behind_one_dash_are_judged_in_proportion_to_their_length(name: str) -> None:
    for patterns in PROGRAMS[name].clusters:
        for pattern in patterns:
            for one in hostile(pattern, "-"):
                assert_in_proportion(pattern.fullmatch, one, WORD_CHARS)


@pytest.mark.parametrize("number", range(len(SHAPES)))
def test_a_shape_is_looked_for_in_proportion_to_the_length(number: int) -> None:
    pattern, replacement = SHAPES[number]
    for one in hostile(pattern):
        assert_in_proportion(lambda label: pattern.sub(replacement, label), one, TEXT_CHARS)


@pytest.mark.parametrize("piece", ["&", "a&", "a &", ";a", "(", "'a' ", '"', "|", "mysql\n", "-n "])
def test_a_line_is_read_in_proportion_to_its_length(piece: str) -> None:
    assert_in_proportion(shell_line, Hostile(piece), LINE_CHARS)


@pytest.mark.parametrize("piece", ["mysql ", "docker login ", "htpasswd -b ", "-n -b ", "set "])
def test_arguments_are_read_in_proportion_to_their_number(piece: str) -> None:
    assert_in_proportion(shell_line, Hostile(piece, "htpasswd mc "), LINE_CHARS)
