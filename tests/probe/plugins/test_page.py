"""The page on plugins says what the hooks are, and what it shows runs."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from probe.plugins import hooks, installed
from probe.report.scope import plugin as protocol

PAGE = (Path(__file__).parents[3] / "docs" / "plugins.md").read_text()


def test_every_hook_stands_in_the_page_with_its_signature() -> None:
    methods = [name for name, _ in inspect.getmembers(hooks.Plugin, inspect.isfunction)]
    for name in [name for name in methods if name != "__init__"]:
        parameters = ", ".join(inspect.signature(getattr(hooks.Plugin, name)).parameters)
        assert f"| `{name}({parameters})` |" in PAGE
    for name, method in inspect.getmembers(hooks.Told, inspect.isfunction):
        if not name.startswith("_"):
            _, *parameters = inspect.signature(method).parameters.values()
            told = ", ".join(
                f"**{p.name}" if p.kind is p.VAR_KEYWORD else p.name for p in parameters
            )
            assert f"`told.{name}({told})`" in PAGE


def test_every_plugin_that_comes_along_stands_in_the_page() -> None:
    for name in installed.places():
        assert f"| `{name}` |" in PAGE


def test_the_bounds_of_the_page_are_those_of_the_code() -> None:
    for number in (protocol.VALUES_MAX, protocol.NODES_MAX, protocol.COLUMNS_MAX):
        assert f"{number:,}" in PAGE
    assert f"{protocol.BYTES_MAX // 2**20} MB" in PAGE
    assert hooks.NODES_MAX == protocol.NODES_MAX


async def test_the_plugin_of_the_page_and_its_test_run() -> None:
    written, test = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(written, "docs/plugins.md", "exec"), names)  # noqa: S102 - the page's own code
    installed.check(names["Scratch"])
    exec(compile(test, "docs/plugins.md", "exec"), names)  # noqa: S102 - the page's own code

    await names["test_the_host_has_its_scratch_space"]()
