"""What `zk-sync check` says of two ensembles before a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sync_engine import cli
from sync_engine.direction import Side
from sync_engine.ensemble import ServerFacts, summarise
from sync_engine.errors import RulesError
from sync_engine.hosts import is_loopback
from sync_engine.lane import Lane
from sync_engine.preflight import about_servers, check
from sync_engine.settings import parse_rules
from tests.sync_engine.rig import Rig
from tests.sync_engine.servers import Server

Pair = tuple[Server, Server]


def _facts(version: str | None, mode: str | None = "leader") -> tuple[ServerFacts, ...]:
    return (ServerFacts("s1:2181", reachable=True, mode=mode, zxid=1, version=version),)


@pytest.mark.parametrize(
    ("version", "problem", "warning"),
    [
        ("3.4.14", "expected ZooKeeper 3.5 or newer", None),
        ("3.5.10", None, "no persistent watches"),
        ("3.8.0", None, "may lose writes"),
        ("3.9.3", None, "may lose writes"),
        ("3.9.4", None, None),
        (None, None, None),
    ],
)
def test_versions_are_judged(version: str | None, problem: str | None, warning: str | None) -> None:
    problems, warnings = about_servers(Side.A, summarise(_facts(version)))
    assert [problem is not None] == [bool(problems)]
    assert [warning is not None] == [bool(warnings)]
    assert (problem or "") in "".join(problems)
    assert (warning or "") in "".join(warnings)


def test_servers_that_do_not_serve_are_told() -> None:
    silent = ServerFacts("s2:2181", reachable=False)
    problems, warnings = about_servers(Side.B, summarise((*_facts("3.9.4", None), silent)))
    assert problems == ["side b has no quorum: start more of its servers"]
    assert warnings == ["side b, s2:2181: does not answer"]


def test_check_asks_both_ensembles_and_changes_nothing(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path)

    def call(*options: str, code: int = 0) -> dict[str, object]:
        arguments = ["check", "--rules", str(rig.rules_file), "--json", *options]
        found = CliRunner().invoke(cli.main, arguments)
        assert found.exit_code == code, found.output
        return json.loads(found.stdout or found.stderr)

    assert call("--offline")["sides"] == {}
    told = call()
    assert told["problems"] == []
    assert f"side a: {rig.a} is not there yet" in str(told["warnings"])
    sides = told["sides"]
    assert isinstance(sides, dict)
    assert sides["b"]["servers"][0]["mode"] == "standalone"
    assert not rig.state_dir.exists()
    rig.document["sides"]["b"]["hosts"] = "127.0.0.1:1"
    rig.rules_file.write_text(json.dumps(rig.document))
    assert call(code=cli.EXIT_FAILED)["error"] == "EnsembleUnreachableError"


async def test_check_finds_one_ensemble_under_two_names_before_any_run(
    own_server: Server, tmp_path: Path
) -> None:
    rig = Rig((own_server, own_server), tmp_path)
    rig.document["sides"]["b"]["hosts"] = own_server.hosts.replace("127.0.0.1", "localhost")
    report = await check(parse_rules(rig.document, "rules"))
    assert ["lead to one ensemble" in problem for problem in report.problems] == [True]
    lane = Lane(own_server.hosts, session_timeout_s=5)
    await lane.start()
    try:
        assert (await lane.children("/"))[0] == ["zookeeper"]
    finally:
        await lane.close()


def test_a_token_is_made_for_loopback_and_wanted_elsewhere(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path)
    del rig.document["token_file"]
    rules = parse_rules(rig.document, "rules")
    assert rules.token_path == rig.state_dir / "token"
    with pytest.raises(RulesError, match="expected a token_file"):
        parse_rules({**rig.document, "listen": "0.0.0.0:1"}, "rules")
    del rig.document["listen"]
    assert parse_rules(rig.document, "rules").listen == "127.0.0.1:8280"


@pytest.mark.parametrize(
    ("host", "is_one"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("db1", False)],  # noqa: S104 - never bound
)
def test_loopback_is_told_from_other_addresses(host: str, is_one: bool) -> None:
    assert is_loopback(host) is is_one
