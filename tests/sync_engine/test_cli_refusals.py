"""What `zk-sync` says to whoever calls it wrongly, without any server."""

from __future__ import annotations

import asyncio
import json
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from sync_engine import cli, engine_verbs
from sync_engine.base import BaseStore
from sync_engine.console import EXIT_FAILED, EXIT_RULES
from sync_engine.settings import read_rules


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    """Rules whose servers and whose engine are not there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    document: dict[str, Any] = {
        "sides": {"a": {"hosts": "127.0.0.1:1"}, "b": {"hosts": "127.0.0.1:2"}},
        "state_dir": str(tmp_path / "state"),
        "listen": f"127.0.0.1:{port}",
        "subtrees": [{"name": "shop", "path_a": "/shop", "path_b": "/shop"}],
    }
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def _call(rules_file: Path, words: str) -> Result:
    group, *rest = shlex.split(words)
    head = [group] if group != "conflicts" else [group, rest.pop(0)]
    return CliRunner().invoke(cli.main, [*head, "--rules", str(rules_file), *rest])


def _leaves(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            for below, leaf in _leaves(command):
                yield f"{name} {below}", leaf
        else:
            yield name, command


_VERBS = dict(_leaves(cli.main))


@pytest.mark.parametrize("name", _VERBS)
def test_help_of_every_verb_ends_with_an_example_that_can_be_parsed(name: str) -> None:
    shown = CliRunner().invoke(cli.main, [*name.split(), "--help"])
    assert shown.exit_code == 0
    words = shlex.split(shown.output.rpartition("Example:")[2])
    assert words[0] == "zk-sync"
    assert words[1 : 1 + len(name.split())] == name.split()
    _VERBS[name].make_context(name, words[1 + len(name.split()) :])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("plan --limit -3", "-3 is not in the range"),
        ("diff --limit x", "'x' is not a valid integer"),
        ("audit --timeout 0", "0.0 is not in the range"),
        ("audit --timeout nan", "'nan' is not a number of seconds"),
        ("pad --timeout 1e9 shop", "is not in the range"),
        ("flip shop c", "'c' is not one of 'a', 'b'"),
        ("conflicts show 0", "0 is not in the range"),
        ("conflicts resolve 1 c", "'c' is not one of 'a', 'b'"),
        ("export --side a --path shop file", "saw 'shop'"),
        ("export --side a --path /shop/ file", "saw '/shop/'"),
        ("export file", "Missing option '--side'"),
        ("project masters for-ever", "is not one of"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(
    rules_file: Path, words: str, told: str
) -> None:
    found = _call(rules_file, words)
    assert found.exit_code == EXIT_RULES
    assert told in found.stderr


@pytest.mark.parametrize("words", ["status", "audit", "flip shop", "conflicts list", "pad shop"])
def test_without_a_first_run_it_says_how_an_engine_is_started(rules_file: Path, words: str) -> None:
    found = _call(rules_file, f"{words} --json")
    assert found.exit_code == EXIT_RULES
    document = json.loads(found.stderr)
    assert document["error"] == "RulesError"
    assert "zk-sync run" in document["message"]
    assert "Errno" not in document["message"]


def test_file_that_is_not_there_is_named_with_what_to_do(rules_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "none.jsonl"
    found = _call(rules_file, f"import --side a {file}")
    assert found.exit_code == EXIT_FAILED
    assert found.stderr.strip() == (
        f"expected to use {file}, saw No such file or directory: name another file, or see to "
        "this one"
    )


def test_export_of_conflicts_that_fails_keeps_the_one_before(
    rules_file: Path, tmp_path: Path
) -> None:
    token = tmp_path / "state" / "token"
    token.parent.mkdir()
    token.write_text("0123456789abcdef")
    token.chmod(0o600)
    before = tmp_path / "conflicts.jsonl"
    before.write_text("kept")
    found = _call(rules_file, f"conflicts export {before}")
    assert found.exit_code == EXIT_FAILED
    assert before.read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "conflicts.jsonl",
        "rules.yaml",
        "state",
    ]


def test_whoever_watches_ends_it_with_ctrl_c(
    rules_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine_verbs, "ask", interrupt)
    assert _call(rules_file, "status --watch").exit_code == 0
    assert _call(rules_file, "status").exit_code != 0


def test_address_that_is_taken_ends_a_run_before_it_begins(rules_file: Path) -> None:
    rules = read_rules(rules_file)
    with socket.create_server((rules.listen_host, rules.listen_port)), capture_logs() as logs:
        code = asyncio.run(cli.serve(rules, "0123456789abcdef"))
    assert code == EXIT_FAILED
    (line,) = logs
    assert line["event"] == "engine.failed"
    assert "saw Address already in use" in line["reason"]
    assert not (rules.state_dir / "base.sqlite").exists()


def test_state_dir_that_cannot_be_made_ends_a_run_with_its_reason(
    rules_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file")

    assert "saw File exists" in _served(rules_file)
    found = _call(rules_file, "run")
    assert found.exit_code == EXIT_RULES
    assert "expected to make the API's token" in found.stderr


def test_journal_that_cannot_be_read_ends_a_run_with_its_reason(
    rules_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "state" / "conflicts.jsonl").mkdir(parents=True)

    assert "saw Is a directory" in _served(rules_file)
    # It has let go of its files.
    BaseStore(tmp_path / "state" / "base.sqlite").close()


def _served(rules_file: Path) -> str:
    """The reason for which an engine fails before it begins."""
    with capture_logs() as logs:
        code = asyncio.run(cli.serve(read_rules(rules_file), "0123456789abcdef"))
    assert code == EXIT_FAILED
    (line,) = logs
    assert line["event"] == "engine.failed"
    return str(line["reason"])
