"""Figures as text and as JSON."""

from __future__ import annotations

import json

from tests.performance.table import Figure, Sense, as_json, as_text, head


def test_a_figure_is_judged_by_the_sense_of_its_target() -> None:
    assert Figure("lag", "ms", 20, target=20).ok
    assert Figure("lag", "ms", 20.1, target=20).ok is False
    assert Figure("rate", "/s", 3000, target=3000, sense=Sense.AT_LEAST).ok
    assert Figure("rate", "/s", 2999, target=3000, sense=Sense.AT_LEAST).ok is False


def test_a_figure_without_a_target_is_not_judged_but_must_be_measured() -> None:
    assert Figure("lag", "ms", 1).ok is None
    assert Figure("lag", "ms", None, note="no server").ok is False


def test_a_ratio_says_how_many_times_better() -> None:
    assert Figure("copy", "s", 2, anchor=30).ratio == 15
    assert Figure("rate", "/s", 3000, anchor=1000, sense=Sense.AT_LEAST).ratio == 3
    assert Figure("writes", "", 0, anchor=10).ratio is None
    assert Figure("copy", "s", 2).ratio is None


def test_json_has_the_same_keys_for_every_figure() -> None:
    found = as_json([Figure("copy", "s", 1.23456, target=2, anchor=30.5), Figure("x", "", None)])

    assert found == [
        {
            "metric": "copy",
            "unit": "s",
            "target": 2,
            "measured": 1.235,
            "anchor": 30.5,
            "ok": True,
        },
        {
            "metric": "x",
            "unit": "",
            "target": None,
            "measured": None,
            "anchor": None,
            "ok": False,
        },
    ]
    json.dumps(found, allow_nan=False)


def test_text_shows_target_measured_anchor_and_note() -> None:
    figure = Figure(
        "copy", "s", 1.5, target=2, anchor=30, anchor_name="plain copy", note="10,101 znodes"
    )
    line, note = as_text(figure).splitlines()

    assert line.split() == [
        "ok",
        "copy",
        "<=",
        "2",
        "s",
        "1.50",
        "s",
        *["30", "s", "(20.0", "x)", "plain", "copy"],
    ]
    assert note.strip() == "10,101 znodes"
    assert line.index("1.50") == head().index("measured")


def test_text_marks_what_was_missed_or_not_measured() -> None:
    assert as_text(Figure("copy", "s", 3, target=2)).startswith("MISS")
    assert as_text(Figure("copy", "s", None)).split() == ["MISS", "copy", "-"]
    assert as_text(Figure("copy", "s", 12_345.6)).split() == ["copy", "12,346", "s"]
