"""A YAML document together with the line on which each of its values stands.

A validator names a wrong value by its keys; people look for it by its line. A key that is given
twice is an error here, because YAML's readers drop the first one silently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import yaml

from sync_engine.errors import RulesError

Where = tuple[int | str, ...]


def load(text: bytes, name: str) -> tuple[object, dict[Where, int]]:
    """The document, and the line (from 1) of each key and each entry of a list.

    Raises:
        RulesError: no YAML, or a key that is given twice.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        document: object = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        msg = f"expected YAML in {name}, saw {error}: correct the file"
        raise RulesError(msg) from None
    lines: dict[Where, int] = {}
    if root is not None:
        _walk(root, (), lines, set(), name)
    return document, lines


def line_of(lines: Mapping[Where, int], where: Sequence[int | str]) -> int | None:
    """The line of a place, or of the nearest one around it that the document has."""
    for length in range(len(where), 0, -1):
        found = lines.get(tuple(where[:length]))
        if found is not None:
            return found
    return None


def _walk(
    node: yaml.Node, where: Where, lines: dict[Where, int], seen: set[int], name: str
) -> None:
    # An alias leads to a node that was walked already, perhaps the one that we are in.
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*where, str(key.value))
            if place in lines:
                msg = (
                    f"{name}, line {key.start_mark.line + 1}: key {key.value!r} stands on line "
                    f"{lines[place]} already: keep one of them"
                )
                raise RulesError(msg)
            lines[place] = int(key.start_mark.line) + 1
            _walk(value, place, lines, seen, name)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            place = (*where, index)
            lines[place] = int(value.start_mark.line) + 1
            _walk(value, place, lines, seen, name)
