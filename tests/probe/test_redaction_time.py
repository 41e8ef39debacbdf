"""Whatever somebody writes, judging it takes time in proportion to its length.

Each pattern gets texts made of its own words, again and again, with an end that it does not take:
what may be split in two ways is then tried in all of them. Lengths are doubled until a call takes
long enough to be measured, or is as long as anything ever is.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from probe.agent.redaction import redact_pair, shell_line
from probe.agent.secret_options import PROGRAMS
from probe.agent.secret_shapes import SHAPES

WORD_CHARS = 4_096
TEXT_CHARS = 64 * 1024
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
    chars = min(1_024, chars_max // 4)
    while 2 * chars < chars_max and seconds(call, of.text(chars)) < _MEASURABLE_S:
        chars *= 2
    short, long = seconds(call, of.text(chars)), seconds(call, of.text(2 * chars))
    for _ in range(8):
        # What is too short to be measured has no ratio.
        if long < _MEASURABLE_S or long <= RATIO_MAX * short:
            return
        # What disturbs only makes it longer.
        short = min(short, seconds(call, of.text(chars)))
        long = min(long, seconds(call, of.text(2 * chars)))
    ratio = long / short
    pytest.fail(f"{2 * chars} characters take {ratio:.1f} times as long as half of them: {of}")


@pytest.mark.parametrize("name", [name for name, one in PROGRAMS.items() if one.words])
def test_a_word_of_a_program_is_judged_in_proportion_to_its_length(name: str) -> None:
    for pattern, _ in PROGRAMS[name].words:
        for one in hostile(pattern, "-"):
            assert_in_proportion(pattern.fullmatch, one, WORD_CHARS)


@pytest.mark.parametrize("number", range(len(SHAPES)))
def test_a_shape_is_looked_for_in_proportion_to_the_length(number: int) -> None:
    pattern, replacement = SHAPES[number]
    for one in hostile(pattern):
        assert_in_proportion(lambda label: pattern.sub(replacement, label), one, TEXT_CHARS)


@pytest.mark.parametrize("piece", ["&", "a&", "a &", ";a", "(", "'a' ", '"', "|"])
def test_a_line_is_read_in_proportion_to_its_length(piece: str) -> None:
    assert_in_proportion(shell_line, Hostile(piece), WORD_CHARS)
    assert_in_proportion(lambda text: redact_pair("label", f"{text} "), Hostile(piece), TEXT_CHARS)
