"""Laws of patterns and selections, against a matcher that tries everything."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_engine.globs import (
    EVERYTHING,
    Glob,
    Selection,
    check_include,
    check_pattern,
    check_selecting,
    shadowed,
)
from sync_engine.znode import parent

_letters = st.text("ab\nä", min_size=1, max_size=3)
_pieces = st.text("ab*?\nä", min_size=1, max_size=4).filter(lambda text: "**" not in text)
_paths = st.lists(_letters, max_size=6).map(lambda names: "".join(f"/{n}" for n in names))
_excludes = st.lists(_pieces | st.just("**"), min_size=1, max_size=4).map(
    lambda names: "".join(f"/{name}" for name in names)
)
_includes = st.tuples(st.lists(_pieces, min_size=1, max_size=4), st.sampled_from(["", "/**"])).map(
    lambda found: "".join(f"/{name}" for name in found[0]) + found[1]
)


def _fits(name: str, pattern: str) -> bool:
    """One name, in the plainest way."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(_fits(name[at:], pattern[1:]) for at in range(len(name) + 1))
    return bool(name) and pattern[0] in {"?", name[0]} and _fits(name[1:], pattern[1:])


def _names_it(names: list[str], pattern: list[str]) -> bool:
    """A whole path, in the plainest way."""
    if not pattern:
        return not names
    if pattern[0] == "**":
        least = 1 if len(pattern) == 1 else 0
        return any(
            _names_it(names[at:], pattern[1:])
            for at in range(least, len(names) + 1)
            if len(pattern) > 1 or at == len(names)
        )
    return bool(names) and _fits(names[0], pattern[0]) and _names_it(names[1:], pattern[1:])


def _slow_match(rel: str, pattern: str) -> bool:
    return _names_it(rel.split("/")[1:], pattern.split("/")[1:])


def _above(rel: str) -> list[str]:
    """A path and all above it but the root."""
    names = rel.split("/")[1:]
    return ["".join(f"/{name}" for name in names[:at]) for at in range(1, len(names) + 1)]


def _slow_covers(rel: str, include: list[str], exclude: list[str]) -> bool:
    if any(_slow_match(path, pattern) for path in _above(rel) for pattern in exclude):
        return False
    if not include or not rel:
        return True
    if any(_slow_match(path, pattern) for path in _above(rel) for pattern in include):
        return True
    count = rel.count("/")
    return any(
        pattern.count("/") > count and _slow_match(rel, "/".join(pattern.split("/")[: count + 1]))
        for pattern in include
    )


@given(_paths, _excludes)
def test_a_pattern_names_what_the_plain_matcher_names(rel: str, pattern: str) -> None:
    assert Glob(pattern).matches(rel) == _slow_match(rel, pattern)


@given(_paths, st.lists(_includes, max_size=3), st.lists(_excludes, max_size=3))
def test_a_selection_covers_what_its_rules_say(
    rel: str, include: list[str], exclude: list[str]
) -> None:
    assert Selection(include, exclude).covers(rel) == _slow_covers(rel, include, exclude)


@given(_paths, st.lists(_includes, max_size=3), st.lists(_excludes, max_size=3))
def test_a_covered_paths_parents_are_covered(
    rel: str, include: list[str], exclude: list[str]
) -> None:
    selection = Selection(include, exclude)
    if selection.covers(rel) and rel:
        above = parent(rel)
        assert selection.covers("" if above == "/" else above)


@given(_paths, st.lists(_includes, max_size=3), st.lists(_excludes, max_size=2), _excludes)
def test_a_further_exclude_never_takes_more_in(
    rel: str, include: list[str], exclude: list[str], further: str
) -> None:
    before, after = Selection(include, exclude), Selection(include, [*exclude, further])
    assert before.covers(rel) or not after.covers(rel)


@pytest.mark.parametrize(
    ("pattern", "named", "others"),
    [
        ("/a", ["/a"], ["", "/b", "/a/b", "/aa"]),
        ("/*", ["/a", "/*"], ["", "/a/b"]),
        ("/a?", ["/ab", "/a*"], ["/a", "/abc", "/a/"]),
        ("/a.b", ["/a.b"], ["/axb"]),
        ("/[ab]", ["/[ab]"], ["/a"]),
        ("/**/log", ["/log", "/a/log", "/a/b/log"], ["/log/a", "/logx"]),
        ("/a/**", ["/a/b", "/a/b/c"], ["/a", "/b"]),
        ("/a/**/b", ["/a/b", "/a/x/b", "/a/x/y/b"], ["/a", "/a/b/c"]),
        ("/grün/日*", ["/grün/日本"], ["/grün/本"]),
        ("", [""], ["/a"]),
    ],
)
def test_patterns_name_these(pattern: str, named: list[str], others: list[str]) -> None:
    glob = Glob(check_pattern(pattern))
    assert [path for path in (*named, *others) if glob.matches(path)] == named


def test_an_include_takes_its_parents_and_all_below_along() -> None:
    selection = Selection(["/apps/*/config"], ["/**/secret"])
    for rel in ("", "/apps", "/apps/x", "/apps/x/config", "/apps/x/config/a/b"):
        assert selection.covers(rel), rel
    for rel in ("/other", "/apps/x/log", "/apps/x/config/secret", "/apps/x/config/secret/a"):
        assert not selection.covers(rel), rel


def test_everything_is_selected_without_patterns() -> None:
    assert EVERYTHING.is_everything
    assert EVERYTHING.covers("/whatever/it/is")
    assert EVERYTHING.text == Selection([], []).text != Selection([], ["/a"]).text


@pytest.mark.parametrize(
    "pattern", ["a", "/a/", "//a", "/a//b", "/../a", "/./a", "/a**", "/a/**b/c", "/a\0", "/"]
)
def test_what_can_match_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"^expected .*, saw"):
        check_pattern(pattern)


def test_the_root_cannot_be_selected_or_left_out() -> None:
    with pytest.raises(ValueError, match="saw the root"):
        check_selecting("")


def test_an_include_that_would_take_everything_along_is_refused() -> None:
    with pytest.raises(ValueError, match="at the end of an include alone"):
        check_include("/**/config")
    assert check_include("/a/**") == "/a/**"


def test_an_include_that_an_exclude_takes_is_found() -> None:
    assert shadowed(["/a", "/b/c"], ["/b"]) == (1, "/b")
    assert shadowed(["/a/*"], ["/a/*"]) == (0, "/a/*")
    assert shadowed(["/a/*"], ["/a/?"]) is None
    assert shadowed(["/a"], ["/a/b"]) is None


def test_no_name_makes_a_pattern_slow() -> None:
    selection = Selection([], ["/**/a/**/a*a*a*a*b/**/a/**/*a*a*b"])
    began = time.process_time()
    assert selection.covers("/" + "a" * 20_000)
    assert selection.covers("/a" * 2_000)
    assert time.process_time() - began < 5


def test_hundreds_of_patterns_are_one_selection() -> None:
    many = Selection([], [f"/x{number}*/**/y" for number in range(500)])
    assert not many.covers("/x7a/y")
    assert many.covers("/z")
