"""The stack's configuration file as a file: read it, and write its `migration` part in one go.

Only that part is rewritten, as text: comments and order of the rest are somebody's, and a file that
is written twice the same way must not change.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from stacks.config import NAMESPACE
from stacks.errors import ConfigError
from stacks.topology import Color, Standing

_KEY = f"{NAMESPACE}:migration"
_INDENT = "  "


def read(path: Path, stack: str) -> dict[str, Any]:
    """Values of the project's namespace, without it.

    Raises:
        ConfigError: the file is missing, or is no YAML.
    """
    try:
        content: dict[str, Any] = yaml.safe_load(path.read_text()) or {}
    except FileNotFoundError:
        msg = (
            f"expected the configuration of stack {stack} in {path}, there is no such file. "
            "`make demo` writes that of stack local"
        )
        raise ConfigError(msg) from None
    except yaml.YAMLError as error:
        msg = f"configuration of stack {stack}: expected YAML in {path}, saw: {error}"
        raise ConfigError(msg) from None
    values: dict[str, Any] = content.get("config") or {}
    return {
        key.removeprefix(f"{NAMESPACE}:"): value
        for key, value in values.items()
        if key.startswith(f"{NAMESPACE}:")
    }


def write_migration(
    path: Path, standing: Standing, *, permit: str | None, epochs: Mapping[Color, int]
) -> None:
    """Replace the `migration` part of the file, atomically."""
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
    block = yaml.safe_dump({_KEY: migration}, sort_keys=False, width=1000)
    lines = [f"{_INDENT}{line}" for line in block.splitlines()]
    text = "\n".join(_with_block(path.read_text().splitlines(), lines)) + "\n"
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    temporary.replace(path)


def _with_block(old: list[str], block: list[str]) -> list[str]:
    start = next((i for i, line in enumerate(old) if line.strip().startswith(f"{_KEY}:")), None)
    if start is None:
        config = next((i for i, line in enumerate(old) if line.startswith("config:")), None)
        if config is None:
            return [*old, "config:", *block]
        return [*old[: config + 1], *block, *old[config + 1 :]]
    end = start + 1
    while end < len(old) and old[end].startswith(_INDENT * 2):
        end += 1
    return [*old[:start], *block, *old[end:]]
