"""The stack's configuration file as a file: read it, and write its `migration` part in one go.

Only that part is rewritten, as text: comments and order of the rest are somebody's, and a file that
is written twice the same way must not change. Where the part stands is asked of the YAML parser,
because people indent and quote as they like; what was written is read back before the file is
replaced.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from stacks.config import NAMESPACE
from stacks.errors import ConfigError
from stacks.topology import Color, Standing

_CONFIG = "config"
_KEY = f"{NAMESPACE}:migration"


def read(path: Path, stack: str) -> dict[str, Any]:
    """Values of the project's namespace, without it.

    Raises:
        ConfigError: the file is missing, or is no YAML of a stack.
    """
    return {
        key.removeprefix(f"{NAMESPACE}:"): value
        for key, value in _values(_text(path, stack), path).items()
        if key.startswith(f"{NAMESPACE}:")
    }


def write_migration(
    path: Path, standing: Standing, *, permit: str | None, epochs: Mapping[Color, int]
) -> None:
    """Replace the `migration` part of the file, atomically.

    Raises:
        ConfigError: the file is written in a way in which that part cannot be replaced; it is as
            it was.
    """
    migration: dict[str, Any] = {
        "source": str(standing.source),
        "target": str(standing.target),
        "position": str(standing.position),
        "client_groups": {name: str(placement) for name, placement in standing.groups.items()},
    }
    if epochs:
        migration["epochs"] = {str(color): epoch for color, epoch in sorted(epochs.items())}
    if permit is not None:
        migration["permit"] = permit
    text = _text(path, path.stem.removeprefix("Pulumi."))
    before = _values(text, path)
    fresh = "\n".join(_with_part(text, migration, path)) + "\n"
    if _values(fresh, path) != {**before, _KEY: migration}:
        raise _unwritable(path, "its layout")
    _replace(path, fresh)


def _text(path: Path, stack: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        msg = (
            f"expected the configuration of stack {stack} in {path}, there is no such file. "
            "`make demo` writes that of stack local"
        )
        raise ConfigError(msg) from None
    except (OSError, UnicodeDecodeError) as error:
        msg = f"expected to read the configuration of stack {stack} in {path}, saw: {error}"
        raise ConfigError(msg) from None


def _values(text: str, path: Path) -> dict[str, Any]:
    """What stands under `config`.

    Raises:
        ConfigError: the text is no YAML, or of another shape.
    """
    try:
        content: Any = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        msg = f"expected YAML in {path}, saw: {error}"
        raise ConfigError(msg) from None
    values: Any = _mapping(content, path, "at its top").get(_CONFIG)
    return _mapping(values, path, f"under {_CONFIG!r}")


def _mapping(content: Any, path: Path, where: str) -> dict[str, Any]:
    if content is None:
        return {}
    if not isinstance(content, dict):
        msg = f"expected keys with values {where} of {path}, saw {type(content).__name__}"
        raise ConfigError(msg)
    found = cast("dict[Any, Any]", content)
    odd = [key for key in found if not isinstance(key, str)]
    if odd:
        msg = f"expected text for keys {where} of {path}, saw {odd[0]!r}: quote it"
        raise ConfigError(msg)
    return found


def _with_part(text: str, migration: Mapping[str, Any], path: Path) -> list[str]:
    lines = text.splitlines()
    config = _find(yaml.compose(text), _CONFIG)
    if config is None or not isinstance(config[1], yaml.MappingNode):
        # No such key, or one without a value.
        kept = lines if config is None else _without(lines, config[0].start_mark.line)
        return [*kept, f"{_CONFIG}:", *_block(migration, 2)]
    if config[1].flow_style:
        raise _unwritable(path, f"braces after {_CONFIG!r}")
    first: yaml.Node = config[1].value[0][0]
    indent = first.start_mark.column
    part = _find(config[1], _KEY)
    if part is None:
        # Before the comments of the first key.
        start = end = config[0].start_mark.line + 1
    else:
        start, end = part[0].start_mark.line, _last_line(part[1]) + 1
    return [*lines[:start], *_block(migration, indent), *lines[end:]]


def _find(node: yaml.Node | None, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next(((k, v) for k, v in node.value if k.value == key), None)


def _last_line(node: yaml.Node) -> int:
    """The last line that holds a part of a node; its own end mark lies behind comments."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return max(_last_line(value) for _, value in node.value)
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return max(map(_last_line, node.value))
    return node.end_mark.line


def _block(migration: Mapping[str, Any], indent: int) -> list[str]:
    text = yaml.safe_dump({_KEY: dict(migration)}, sort_keys=False, width=1000)
    return [f"{' ' * indent}{line}" for line in text.splitlines()]


def _without(lines: list[str], index: int) -> list[str]:
    return [*lines[:index], *lines[index + 1 :]]


def _unwritable(path: Path, what: str) -> ConfigError:
    return ConfigError(
        f"expected {path} in a form in which {_KEY} can be replaced, saw {what}. Write its values "
        "one a line, indented, as `pulumi config set` does; the file is as it was"
    )


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
