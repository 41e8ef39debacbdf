"""Reads the part of a Dockerfile that our images need; anything else is refused.

`FROM`, `ADD` of an archive, `COPY`, `ENV`, `USER`, `ENTRYPOINT`: there is no `RUN`, so what is
built depends on the files alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tools.errors import StepFailedError

_SCRATCH = "scratch"


@dataclass(frozen=True)
class Layer:
    """What one instruction adds: an unpacked archive, or a file or folder at a place."""

    source: str
    target: str
    is_archive: bool


@dataclass(frozen=True)
class Stage:
    """What a target is, its bases included."""

    layers: tuple[Layer, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    user: str | None = None
    entrypoint: tuple[str, ...] = ()


def read(text: str) -> dict[str, Stage]:
    """Targets by their names.

    Raises:
        StepFailedError: an instruction that is not known here, or a base that is none.
    """
    stages: dict[str, Stage] = {}
    current = ""
    for line in filter(None, map(_without_comment, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, current = _names(rest)
            stages[current] = Stage() if base == _SCRATCH else _known(stages, base)
        else:
            stages[current] = _with(_known(stages, current), word, rest)
    return stages


def _without_comment(line: str) -> str:
    return "" if line.lstrip().startswith("#") else line.strip()


def _names(rest: str) -> tuple[str, str]:
    match rest.split():
        case [base, "AS", name]:
            return base, name
        case _:
            msg = f"expected FROM <base> AS <name> in the Dockerfile, saw FROM {rest}"
            raise StepFailedError(msg)


def _known(stages: Mapping[str, Stage], name: str) -> Stage:
    if name not in stages:
        msg = (
            f"expected one of {', '.join(stages) or 'no stage yet'}, saw {name!r} in the Dockerfile"
        )
        raise StepFailedError(msg)
    return stages[name]


def _with(stage: Stage, word: str, rest: str) -> Stage:
    match word, rest.split():
        case (("ADD" | "COPY"), [source, target]):
            added = Layer(source, target.strip("/"), is_archive=word == "ADD")
            return replace(stage, layers=(*stage.layers, added))
        case "ENV", pairs:
            new = {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
            return replace(stage, environment={**stage.environment, **new})
        case "USER", [user]:
            return replace(stage, user=user)
        case "ENTRYPOINT", _:
            return replace(stage, entrypoint=tuple(json.loads(rest)))
        case _:
            msg = (
                "expected ADD, COPY, ENV, USER or ENTRYPOINT in the Dockerfile, saw "
                f"{word} {rest}: images are made of files alone"
            )
            raise StepFailedError(msg)
