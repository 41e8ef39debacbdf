"""Libraries that one place alone may use; packages among themselves are import-linter's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.tidy.conftest import CHECKOUT
from tests.tidy.facts import facts

# library → where it is used directly (a path, or the beginning of one); tests are free.
USERS = {
    "kazoo": ("clients/zookeeper/", "stacks/local/"),
    "pulumi.automation": ("stacks/automation.py",),
    "boto3": (),
}


@pytest.mark.parametrize("library", USERS)
def test_a_library_is_used_where_it_is_said_to_be(library: str, sources: list[Path]) -> None:
    users = {
        str(path)
        for path in sources
        if path.parts[0] not in {"tests", "examples"}
        and any(name == library or name.startswith(f"{library}.") for name in facts(path).imports)
    }

    assert {user for user in users if not user.startswith(USERS[library] or ("nobody",))} == set()


def test_the_entry_holds_no_logic() -> None:
    assert len((CHECKOUT / "__main__.py").read_text().splitlines()) <= 10


def test_set_up_needs_the_standard_library_alone(sources: list[Path]) -> None:
    used = {
        name.partition(".")[0]
        for p in sources
        if p.parts[0] == "tools"
        for name in facts(p).imports
    }

    assert used <= {*sys.stdlib_module_names, "tools"}
