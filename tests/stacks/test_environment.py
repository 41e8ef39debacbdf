"""Pulumi's variables have defaults that keep everything in the checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stacks import environment

PLAIN = {"PATH": "/usr/bin:/bin"}


def in_a_shell(checkout: Path, words: str, variables: dict[str, str] | None = None) -> list[str]:
    """Read the file into a plain shell and print."""
    script = f'. ./.local/env && printf "%s\\n" {words}'
    result = subprocess.run(
        ["/bin/sh", "-euc", script],
        cwd=checkout,
        env={**PLAIN, **(variables or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "a folder's $name"
    folder.mkdir()
    return folder


def test_nothing_set_means_everything_in_the_checkout(checkout: Path) -> None:
    variables = dict(PLAIN)

    environment.apply(checkout, variables)

    local = checkout / ".local"
    assert variables["PULUMI_BACKEND_URL"] == f"file://{local}/pulumi-state"
    assert variables["PULUMI_HOME"] == f"{local}/pulumi-home"
    assert variables["PATH"].split(":")[0] == f"{sys.prefix}/bin"
    passphrase = Path(variables["PULUMI_CONFIG_PASSPHRASE_FILE"])
    assert passphrase.read_text() == "mesos-platform-dev\n"
    assert passphrase.stat().st_mode & 0o077 == 0


def test_what_somebody_set_stays(checkout: Path) -> None:
    given = {
        **PLAIN,
        "PULUMI_BACKEND_URL": "s3://theirs",
        "PULUMI_CONFIG_PASSPHRASE": "theirs",
    }
    variables = dict(given)

    environment.apply(checkout, variables)

    assert {name: variables[name] for name in given if name != "PATH"} == {
        name: value for name, value in given.items() if name != "PATH"
    }
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in variables


def test_the_demo_touches_no_other_backend(checkout: Path) -> None:
    theirs = {
        "PULUMI_BACKEND_URL": "s3://theirs",
        "PULUMI_HOME": "/theirs",
        "PULUMI_CONFIG_PASSPHRASE": "theirs",
        "PULUMI_CONFIG_PASSPHRASE_FILE": "/theirs/passphrase",
    }
    variables = {**PLAIN, **theirs}
    plain = dict(PLAIN)

    environment.apply(checkout, variables, own=True)
    environment.apply(checkout, plain)

    assert variables == plain


def test_applying_twice_changes_nothing_more(checkout: Path) -> None:
    variables = dict(PLAIN)
    environment.apply(checkout, variables)
    once = dict(variables)

    environment.apply(checkout, variables)

    assert variables == once


def test_a_shell_reads_the_same_values(checkout: Path) -> None:
    variables = dict(PLAIN)
    environment.apply(checkout, variables)
    names = [*environment.defaults(checkout), "PATH"]

    told = in_a_shell(checkout, " ".join(f'"${name}"' for name in names))

    assert told == [variables[name] for name in names]


def test_a_shell_that_reads_them_works_on_this_checkout(checkout: Path) -> None:
    environment.apply(checkout, dict(PLAIN))
    given = {"PULUMI_BACKEND_URL": "s3://theirs", "PULUMI_CONFIG_PASSPHRASE": "theirs"}

    told = in_a_shell(checkout, '"$PULUMI_BACKEND_URL" "${PULUMI_CONFIG_PASSPHRASE-unset}"', given)

    assert told == [f"file://{checkout}/.local/pulumi-state", "unset"]
