"""The verbs of `zk-sync`, as an operator calls them, on real servers."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sync_engine import cli
from sync_engine.client import Side
from sync_engine.lane import Lane
from sync_engine.znode import PERM_ALL, PERM_READ, WORLD_ALL, Acl
from tests.sync_engine.rig import Rig, tree, until, until_equal
from tests.sync_engine.servers import Server
from tests.sync_engine.test_two_way import rig_of
from tests.waiting import BOUND_S

Pair = tuple[Server, Server]
_RESTRICTED = (Acl(PERM_ALL, "digest", "user:hash="), Acl(PERM_READ, "world", "anyone"))


async def call(rig: Rig, *words: str, code: int = 0) -> Result:
    """Call `zk-sync` in a thread, as it has an event loop of its own."""
    verb = [word for word in words if word == "conflicts"]
    rest = list(words[len(verb) :])
    arguments = [*verb, rest[0], "--rules", str(rig.rules_file), *rest[1:]]
    found = await asyncio.to_thread(CliRunner().invoke, cli.main, arguments)
    assert found.exit_code == code, found.output
    return found


async def call_json(rig: Rig, *words: str, code: int = 0) -> Any:
    """Its answer as JSON."""
    return json.loads((await call(rig, *words, "--json", code=code)).stdout)


async def everything(lanes: Sequence[Lane]) -> list[Any]:
    """All of both ensembles, with versions."""
    found: list[Any] = []
    for lane in lanes:
        await lane.sync("/")
        async for nodes in lane.scan("/"):
            found += [(node, node.stat) for node in nodes if not node.path.startswith("/zookeeper")]
    return found


def test_help_tells_exit_codes_and_completion() -> None:
    found = CliRunner().invoke(cli.main, ["--help"])
    assert found.exit_code == 0
    assert "Exit codes" in found.output
    assert "_ZK_SYNC_COMPLETE=bash_source" in found.output


def test_every_verb_but_run_prints_json_on_demand() -> None:
    def verbs(group: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, command in group.commands.items():
            found |= verbs(command) if hasattr(command, "commands") else {name: command}
        return found

    silent = {
        name
        for name, command in verbs(cli.main).items()
        if not any("--json" in parameter.opts for parameter in command.params)
    }
    assert silent == {"run"}


async def test_plan_and_diff_tell_what_a_run_would_do_and_write_nothing(
    pair: Pair, tmp_path: Path
) -> None:
    rig = rig_of(pair, tmp_path, {})
    async with rig.lanes() as lanes:
        a, b = lanes
        await a.create(f"{rig.a}/new", b"1", WORLD_ALL)
        if await b.exists("/other") is None:
            await b.create("/other", b"", WORLD_ALL)
        await b.create(rig.b, None, WORLD_ALL)
        await b.create(f"{rig.b}/only-b", b"", WORLD_ALL)
        before = await everything(lanes)
        plan = (await call_json(rig, "plan", code=cli.EXIT_DIFFERENT))["subtrees"][rig.name]
        assert plan["counts"] == {"create": 1, "keep": 1}
        assert plan["has_base"] is False
        differences = await call_json(rig, "diff", code=cli.EXIT_DIFFERENT)
        assert {d["kind"] for d in differences["differences"]} == {"only_a", "only_b"}
        assert differences["differences"][0]["a"]["data"] == "MQ=="
        assert await everything(lanes) == before
        assert not rig.state_dir.exists()
        assert "create b:" in (await call(rig, "plan", code=cli.EXIT_DIFFERENT)).stdout
        assert "2 of 2 paths differ" in (await call(rig, "diff", code=cli.EXIT_DIFFERENT)).stdout
        # With a base, and a conflict that only a look at the target tells.
        async with rig.engine() as engine:
            engine.confirm(rig.name)
            await until_equal(rig, a, b)
        assert (await call_json(rig, "diff"))["total"] == 0
        assert (await call_json(rig, "plan"))["subtrees"][rig.name]["counts"] == {}
        await a.set_data(f"{rig.a}/new", b"2", -1)
        await b.set_data(f"{rig.b}/new", b"3", -1)
        (change,) = (await call_json(rig, "plan", code=cli.EXIT_DIFFERENT))["subtrees"][rig.name][
            "changes"
        ]
        assert (change["action"], change["conflict"]) == ("update", "changed-by-other")


async def test_export_and_import_bring_a_tree_back_with_its_acls(
    pair: Pair, tmp_path: Path
) -> None:
    rig = rig_of(pair, tmp_path, {})
    file = tmp_path / "backup"
    async with rig.lanes() as (a, _):
        await a.create(f"{rig.a}/null", None, WORLD_ALL)
        await a.create(f"{rig.a}/empty", b"", _RESTRICTED)
        for i in range(300):
            await a.create(f"{rig.a}/n{i}", b"x" * 5_000, WORLD_ALL)
        before = await tree(a, rig.a)
        report = await call_json(rig, "export", "--side", "a", str(file))
        assert report["znodes"] == len(before) == 303
        assert (await call_json(rig, "import", "--side", "a", str(file)))["unchanged"] == 303
        for path in [p for p in before if p]:
            await a.delete(rig.a + path, -1)
        await a.delete(rig.a, -1)
        imported = await call_json(rig, "import", "--side", "a", str(file))
        assert imported["created"] == 303
        assert await tree(a, rig.a) == before


async def test_import_refuses_what_is_damaged_or_does_not_fit_before_it_writes(
    pair: Pair, tmp_path: Path
) -> None:
    rig = rig_of(pair, tmp_path, {})
    file = tmp_path / "backup"
    async with rig.lanes() as (a, _):
        for name in ("x", "y"):
            await a.create(f"{rig.a}/{name}", b"old", WORLD_ALL)
        await call(rig, "export", "--side", "a", str(file))
        await a.delete(f"{rig.a}/x", -1)
        await a.set_data(f"{rig.a}/y", b"new", -1)
        await a.set_acl(f"{rig.a}/y", _RESTRICTED, -1)
        before = await tree(a, rig.a)
        whole = file.read_bytes()
        for damaged in (whole[:-20], whole.replace(b"b2xk", b"bmV3", 1), b""):
            file.write_bytes(damaged)
            found = await call(rig, "import", "--side", "a", str(file), code=cli.EXIT_FAILED)
            assert "another copy" in found.stderr
            assert await tree(a, rig.a) == before
        file.write_bytes(whole)
        found = await call(rig, "import", "--side", "a", str(file), code=cli.EXIT_FAILED)
        assert f"{rig.a}/y" in found.stderr
        assert await tree(a, rig.a) == before
        skipped = await call_json(rig, "import", "--side", "a", "--existing", "skip", str(file))
        assert (skipped["created"], skipped["left"]) == (1, 1)
        replaced = await call_json(rig, "import", "--side", "a", "--existing", "replace", str(file))
        assert replaced["replaced"] == 1
        assert (await tree(a, rig.a))["/y"] == (b"old", frozenset(WORLD_ALL))


async def test_conflicts_are_listed_shown_resolved_and_exported(pair: Pair, tmp_path: Path) -> None:
    rig = rig_of(pair, tmp_path, {"on_conflict": "manual"})
    async with rig.lanes() as (a, b):
        await a.create(f"{rig.a}/x", b"0", WORLD_ALL)
        async with rig.process() as (_, client):
            await until_equal(rig, a, b, BOUND_S)
            await b.set_data(f"{rig.b}/x", b"foreign", -1)
            await a.set_data(f"{rig.a}/x", b"owner's", -1)

            async def waits() -> bool:
                return bool((await client.held()).conflicts)

            await until(waits, "a conflict")
            (held,) = (await call_json(rig, "conflicts", "list"))["conflicts"]
            shown = await call(rig, "conflicts", "show", str(held["id"]))
            assert 'b"owner\'s"' in shown.stdout
            assert "b'foreign'" in shown.stdout
            refused = await call(
                rig, "conflicts", "resolve", "999", "a", "--json", code=cli.EXIT_FAILED
            )
            assert json.loads(refused.stderr)["error"] == "EngineRefusedError"
            await call(rig, "conflicts", "resolve", "--seen", held["seen"], str(held["id"]), "b")
            assert (await a.get(f"{rig.a}/x"))[0] == b"foreign"
            file = tmp_path / "conflicts.jsonl"
            exported = await call_json(rig, "conflicts", "export", str(file))
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            assert exported["conflicts"] == len(lines) == 2
            assert [line["held"] for line in lines] == [True, False]
            assert lines[1]["why"] == "resolved by an operator"
            assert "no conflict waits" in (await call(rig, "conflicts", "list")).stdout


async def test_pad_moves_counters_on_and_an_audit_counts_what_it_compares(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = rig_of(pair, tmp_path, {})
    async with rig.lanes() as (a, b):
        for i in range(5):
            await a.create(f"{rig.a}/q{i}", b"", WORLD_ALL)
            await a.delete(f"{rig.a}/q{i}", -1)
        async with rig.process() as (_, client):
            await until(lambda: b.exists(rig.b), "the copy", BOUND_S)
            assert (await call_json(rig, "pad", rig.name))["padded"] == 5
            assert (await call_json(rig, "pad", rig.name))["padded"] == 0
            stat_a, stat_b = await a.exists(rig.a), await b.exists(rig.b)
            assert stat_a is not None
            assert stat_b is not None
            assert stat_a.creates == stat_b.creates
            assert (await client.status()).subtrees[rig.name].owner is Side.A
            # As on a terminal.
            monkeypatch.setenv("FORCE_COLOR", "1")
            monkeypatch.setenv("TERM", "xterm")
            found = await call(rig, "audit")
            assert re.search(r"\b2 znodes", found.stderr), found.stderr
            assert "znodes" not in (await call(rig, "pad", rig.name)).stderr


@pytest.mark.parametrize("words", [("status",), ("audit",), ("conflicts", "list"), ("confirm",)])
async def test_without_an_engine_its_verbs_say_so(
    pair: Pair, tmp_path: Path, words: tuple[str, ...]
) -> None:
    rig = rig_of(pair, tmp_path, {})
    found = await call(rig, *words, code=cli.EXIT_FAILED)
    assert "is it running?" in found.stderr


def test_without_the_engines_packages_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("sync_engine")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SystemExit) as ended:
        importlib.import_module("sync_engine.entry").main()
    assert ended.value.code == 1
    assert "pip install 'mesos-platform[sync]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [("zk-sync con", {"confirm", "conflicts"}), ("zk-sync flip shop ", {"a", "b"})],
)
def test_the_shell_completes_verbs_and_sides(words: str, told: set[str]) -> None:
    # What the documented line of a shell asks for at each tabulator.
    asked = {
        "_ZK_SYNC_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    code = "import sys; sys.argv[0] = 'zk-sync'; from sync_engine.entry import main; main()"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **asked},
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    assert {line.partition(",")[2] for line in found.stdout.splitlines()} == told
