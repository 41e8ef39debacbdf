"""Patterns of paths below a subtree's root, and which of a subtree's paths are the engine's. Pure.

A pattern begins with a slash and is matched name by name, from the subtree's root, in whole:

- ``*`` stands for any characters of one name, ``?`` for one character, never for a slash;
- ``**`` as a whole name stands for any number of names: ``/**/tmp`` is every ``tmp``, ``/a/**/b``
  is ``/a/b`` too, ``/a/**`` is all below ``/a`` and not ``/a`` itself;
- everything else stands for itself. Case counts, and there are no classes and no escapes.

`include` and `exclude` select with these rules, so that a selected path's parents are always
selected and a path's fate follows from its name alone, never from what else is there:

- a path that matches `exclude` is out with all below it, whatever `include` says;
- with an `include`, a path that matches it is in with all below it, and so is every path above a
  place where a match may stand: ``/a/*/b`` takes ``/a`` and each ``/a/x`` along, as parents,
  without what else is below them. As ``**`` before the last name would take everything along so, it
  may only end an `include`;
- the root is always in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# Where a name ends.
_END = r"(?=/|\Z)"
_ANY_NAMES = "**"


def check_pattern(pattern: str) -> str:
    """A pattern that can be matched; "" is the root itself.

    Raises:
        ValueError: it can not.
    """
    if pattern and not pattern.startswith("/"):
        msg = f"expected a pattern of paths below the subtree's root, as /groups/*, saw {pattern!r}"
        raise ValueError(msg)
    names = pattern.split("/")[1:]
    if pattern and (not all(names) or {".", ".."} & set(names) or "\0" in pattern):
        msg = (
            f"expected names between single slashes and none at the end, as /groups/*, saw "
            f"{pattern!r}"
        )
        raise ValueError(msg)
    for name in names:
        if _ANY_NAMES in name and name != _ANY_NAMES:
            msg = f"expected ** to be a whole name, as /a/**/b, saw {name!r} in {pattern!r}"
            raise ValueError(msg)
    return pattern


def check_selecting(pattern: str) -> str:
    """A pattern of `exclude`: any but the root's.

    Raises:
        ValueError: it names the root, which is always copied.
    """
    if not pattern:
        msg = "expected a pattern of paths below the subtree's root, as /groups/*, saw the root"
        raise ValueError(msg)
    return check_pattern(pattern)


def check_include(pattern: str) -> str:
    """A pattern of `include`.

    Raises:
        ValueError: every path would be a parent of what it may match.
    """
    check_selecting(pattern)
    if _ANY_NAMES in pattern.split("/")[1:-1]:
        msg = (
            f"expected ** at the end of an include alone, saw {pattern!r}: every path could be a "
            "parent of a match, and would be copied; name the parents, or exclude the rest"
        )
        raise ValueError(msg)
    return pattern


class Glob:
    """One pattern; matches paths in whole."""

    def __init__(self, pattern: str) -> None:
        self._whole = re.compile(_anchored(_names(pattern)))

    def matches(self, rel: str) -> bool:
        """Whether it names this relative path."""
        return self._whole.match(rel) is not None


class Selection:
    """Which relative paths of a subtree are the engine's; patterns are checked already."""

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self.text = "" if not (include or exclude) else repr((tuple(include), tuple(exclude)))
        """The same for the same patterns; empty where everything is selected."""
        self._out = _any_of([_from_start(_names(p)) for p in exclude])
        self._in = _any_of([_from_start(_names(p)) for p in include])
        self._above = _any_of([_parents(_names(p)) for p in include])

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return not self.text

    def covers(self, rel: str) -> bool:
        """Whether a relative path is the engine's; if it is, so are all above it."""
        if not rel or self.is_everything:
            return True
        if self._out is not None and self._out.match(rel):
            return False
        if self._in is None or self._in.match(rel):
            return True
        return self._above is not None and self._above.match(rel) is not None


def shadowed(include: Sequence[str], exclude: Sequence[str]) -> tuple[int, str] | None:
    """An include that names nothing because an exclude takes it all: its index, and which one."""
    for index, pattern in enumerate(include):
        for other in exclude:
            is_plain = not set("*?") & set(pattern)
            if other == pattern or (is_plain and not Selection((), (other,)).covers(pattern)):
                return index, other
    return None


def _names(pattern: str) -> list[str]:
    return pattern.split("/")[1:]


def _any_of(expressions: list[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(expressions)) if expressions else None


def _from_start(names: list[str]) -> str:
    """Matches a path if the pattern names it or a path above it."""
    # What is below a match is matched as well, so one name for `**` is as good as many.
    names = ["*" if _is_last_any(names, at) else name for at, name in enumerate(names)]
    first, *others = _blocks(names)
    # The first place where a block fits is the best one: it leaves most for those after it. So
    # nothing is ever tried again, and no name makes a pattern slow.
    return _block(first) + "".join(f"(?>(?:/[^/]+)*?{_block(block)})" for block in others)


def _anchored(names: list[str]) -> str:
    """Matches a path that the pattern names."""
    blocks = _blocks(names)
    if len(blocks) == 1:
        return _block(blocks[0]) + r"\Z"
    middle = "".join(f"(?>(?:/[^/]+)*?{_block(block)})" for block in blocks[1:-1])
    some = "+" if not blocks[-1] else "*"
    return f"{_block(blocks[0])}{middle}(?:/[^/]+){some}{_block(blocks[-1])}" + r"\Z"


def _parents(names: list[str]) -> str:
    """Matches a path above a place where a match may stand."""
    expression = ""
    for name in reversed(names[:-1]):
        expression = f"/{_name(name)}(?:{expression})?"
    return (expression or "(?!)") + r"\Z"


def _is_last_any(names: list[str], at: int) -> bool:
    return names[at] == _ANY_NAMES and at == len(names) - 1


def _blocks(names: list[str]) -> list[list[str]]:
    """What stands between the `**`; one after the other is one."""
    blocks: list[list[str]] = [[]]
    for at, name in enumerate(names):
        if name != _ANY_NAMES:
            blocks[-1].append(name)
        elif at == 0 or names[at - 1] != _ANY_NAMES:
            blocks.append([])
    return blocks


def _block(names: list[str]) -> str:
    return "".join(f"/{_name(name)}" for name in names)


def _name(name: str) -> str:
    first, *others = (_literal(part) for part in name.split("*"))
    if not others:
        return first + _END
    middle = "".join(f"(?>[^/]*?{part})" for part in others[:-1] if part)
    return f"{first}{middle}[^/]*{others[-1]}{_END}"


def _literal(text: str) -> str:
    return "".join("[^/]" if each == "?" else re.escape(each) for each in text)


EVERYTHING = Selection()
"""Nothing is left out."""
