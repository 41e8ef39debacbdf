"""What tidy tests ask of a Python file, read from it once: parsing all of them takes seconds."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.tidy.conftest import CHECKOUT


@dataclass(frozen=True)
class Facts:
    """What is in one file."""

    docstring: str | None
    imports: frozenset[str]
    """Modules, and every name that is taken from one, with its module."""
    classes: tuple[tuple[str, frozenset[str]], ...]
    """Each class and the names of those it derives from, without their modules."""
    function_lines: tuple[tuple[str, int], ...]


@cache
def facts(path: Path) -> Facts:
    """What is in a file; its path is relative to the checkout."""
    tree = ast.parse((CHECKOUT / path).read_text())
    imports: set[str] = set()
    classes: list[tuple[str, frozenset[str]]] = []
    function_lines: list[tuple[str, int]] = []
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                imports |= {alias.name for alias in node.names}
            case ast.ImportFrom(module=str(module), level=0):
                imports |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
            case ast.ClassDef():
                bases = (ast.unparse(base).rpartition(".")[2] for base in node.bases)
                classes.append((node.name, frozenset(bases)))
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                function_lines.append((node.name, lines))
            case _:
                pass
    return Facts(ast.get_docstring(tree), frozenset(imports), tuple(classes), tuple(function_lines))
