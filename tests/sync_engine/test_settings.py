"""The rules file: what is accepted, and how what is wrong is told."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.mesos.masters import ELECTION_PATH
from sync_engine.errors import RulesError
from sync_engine.hosts import parse_hosts
from sync_engine.settings import (
    Conflict,
    Side,
    SideAuth,
    parse_rules,
    read_auth,
    read_rules,
)

RULES: dict[str, Any] = {
    "sides": {
        "a": {"hosts": "a1:2181,a2:2181", "auth": {"scheme": "digest", "file": "/super"}},
        "b": {"hosts": "b1:2181"},
    },
    "state_dir": "/state",
    "listen": "127.0.0.1:9000",
    "token_file": "/token",
    "subtrees": [
        {"name": "app", "path_a": "/app", "path_b": "/app", "owner": "a"},
        {"name": "other", "path_a": "/app2", "path_b": "/moved/other"},
    ],
    "projections": [
        {
            "name": "masters",
            "from": "b",
            "leader_path_a": ELECTION_PATH,
            "leader_path_b": ELECTION_PATH,
            "label": "json.info_",
        }
    ],
}


def _with(path: str, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(RULES)
    at: Any = document
    *parents, last = path.split(".")
    for key in parents:
        at = at[int(key) if key.isdigit() else key]
    at[int(last) if last.isdigit() else last] = value
    return document


def _refusal(document: Any) -> str:
    with pytest.raises(RulesError) as caught:
        parse_rules(document, "rules.yaml")
    assert not caught.value.retryable
    assert "rules.yaml" in str(caught.value)
    return str(caught.value)


def test_rules_are_read_with_their_defaults(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(RULES))
    rules = read_rules(file)
    assert (rules.listen_host, rules.listen_port) == ("127.0.0.1", 9000)
    assert rules.sides[Side.A].auth == SideAuth(file=Path("/super"))
    app, other = rules.subtrees
    assert (app.owner, app.on_conflict) == (Side.A, Conflict.OWNER)
    assert (other.owner, other.path(Side.B)) == (Side.A, "/moved/other")
    assert (rules.projections[0].source, rules.projections[0].path(Side.A)) == (
        Side.B,
        ELECTION_PATH,
    )
    assert rules.tuning.batch_bytes_max == 512 * 1024


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("subtrees.0.onwer", "owner"),
        ("sides.a.host", "hosts"),
        ("sides.a.auth.fil", "file"),
        ("projections.0.form", "from"),
        ("tuning", "session_timeout_s"),
        ("subtree", "subtrees"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(path: str, near: str) -> None:
    value = {"session_timeout": 3} if path == "tuning" else "x"
    text = _refusal(_with(path, value))
    assert "unknown key" in text
    assert f"did you mean {near!r}" in text


def test_a_key_like_no_other_is_told_with_all_that_are_known() -> None:
    assert "known are file, scheme" in _refusal(_with("sides.a.auth.zzz", 1))


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("subtrees.1.path_a", "/app", "overlap on side a"),
        ("subtrees.1.path_a", "/app/below", "overlap on side a"),
        ("subtrees.1.path_b", "/app/below", "overlap on side b"),
        ("subtrees.1.name", "app", "two subtrees have the name 'app'"),
        ("subtrees.0.path_a", "/zookeeper/quota", "belongs to ZooKeeper"),
        ("subtrees.0.path_b", "/.zksync", "belongs to the engine"),
        ("subtrees.0.path_b", "/", "whole tree"),
        ("subtrees.0.path_b", "/a/", "absolute path"),
        ("subtrees.0.path_b", "a", "absolute path"),
        ("subtrees.0.path_b", "/a//b", "absolute path"),
        ("subtrees.0.path_b", "/a/../b", "absolute path"),
        ("subtrees.0.on_conflict", "latest", "on_conflict"),
        ("subtrees.0.on_conflict", "b", "on_conflict"),
        ("subtrees.0.ephemerals", "own", "ephemerals"),
        ("subtrees.0.direction", "both", "unknown key"),
        ("sides.b.hosts", "b1:2181,a2:2181", "both sides name a2:2181"),
        ("sides.b.hosts", "b1:2181/chroot", "path"),
        ("sides.b.hosts", "b1:99999", "host:port"),
        ("sides.b.hosts", "", "at least one server"),
        ("listen", "9000", "listen"),
        ("tuning", {"in_flight_max": 5000}, "in_flight_max"),
        ("projections.0.label", "json.info_3", "label"),
    ],
)
def test_what_cannot_be_done_is_refused(path: str, value: Any, told: str) -> None:
    assert told in _refusal(_with(path, value))


@pytest.mark.parametrize("document", [None, [], "text", {}])
def test_a_document_of_another_shape_is_refused(document: Any) -> None:
    _refusal(document)


def test_siblings_with_a_common_beginning_do_not_overlap() -> None:
    parse_rules(_with("subtrees.1.path_b", "/app-2"), "rules.yaml")


def test_a_missing_or_unreadable_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match="write it first"):
        read_rules(tmp_path / "missing.yaml")
    (tmp_path / "rules.yaml").write_text("a: [")
    with pytest.raises(RulesError, match="expected YAML"):
        read_rules(tmp_path / "rules.yaml")


def test_credentials_are_read_without_their_line_end(tmp_path: Path) -> None:
    file = tmp_path / "super"
    file.write_text("super:se:cret\n")
    file.chmod(0o600)
    assert read_auth(SideAuth(file=file)) == [("digest", b"super:se:cret")]
    assert read_auth(None) == []


@pytest.mark.parametrize(
    "text", ["", "hunter", "hunter:", ":hunter2", "a:b\nc:d", "a:" + "b" * 5000, "a:\u00e9"]
)
def test_credentials_of_another_form_are_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    file = tmp_path / "super"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(RulesError, match="user:password") as caught:
        read_auth(SideAuth(file=file))
    assert not text or text not in str(caught.value)


def test_credentials_that_everybody_may_read_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "super"
    file.write_text("super:secret")
    file.chmod(0o644)
    with pytest.raises(RulesError, match="chmod 600"):
        read_auth(SideAuth(file=file))


def test_hosts_are_taken_apart() -> None:
    assert parse_hosts("a, b:1 ,[::1]:2,[fe80::1],a:2181") == (
        ("a", 2181),
        ("b", 1),
        ("::1", 2),
        ("fe80::1", 2181),
    )
