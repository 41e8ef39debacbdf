"""The rules file: what is accepted, and how what is wrong is told."""

from __future__ import annotations

import copy
import re
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
from sync_engine.znode import PERSISTENT, NodeKind

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
        ("subtrees.0.on_conflict", "a", "direction: both"),
        ("subtrees.0.on_conflict", "merge", "go together"),
        ("subtrees.0.merge_hook", "x", "go together"),
        ("subtrees.0.delete_vs_update", "update", "direction: both"),
        ("subtrees.0.ephemerals", "keep", "ephemerals"),
        ("subtrees.0.direction", "b_to_a", "but owner is a"),
        ("subtrees.0.containers", ["app"], "below the subtree's root"),
        ("subtrees.0.include", ["/a", "b"], "include.1: expected a pattern"),
        ("subtrees.0.include", ["/**/b"], "at the end of an include alone"),
        ("subtrees.0.exclude", ["/a/"], "single slashes"),
        ("subtrees.0.exclude", ["/a**"], "a whole name"),
        ("subtrees.0.exclude", [""], "saw the root"),
        ("subtrees.0.ttl", [{"match": "/x", "ttl_ms": 0}], "ttl_ms"),
        ("subtrees.0.ttl", [{"match": "/x", "ttl": 5}], "did you mean 'ttl_ms'"),
        ("subtrees.1.path_a", ELECTION_PATH, "elections are never copied"),
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


@pytest.mark.parametrize(
    "changes",
    [
        {"direction": "both", "on_conflict": "latest", "delete_vs_update": "delete"},
        {"direction": "both", "on_conflict": "merge", "merge_hook": "union"},
        {"direction": "both", "on_conflict": "b", "owner": "a"},
        {"direction": "a_to_b", "on_conflict": "a"},
        {"on_conflict": "manual", "delete_vs_update": "manual"},
        {"ephemerals": "own"},
    ],
)
def test_what_can_be_kept_is_read(changes: dict[str, Any]) -> None:
    parse_rules(_with("subtrees.0", {**RULES["subtrees"][0], **changes}), "rules.yaml")


def test_both_ways_and_own_ephemerals_exclude_each_other() -> None:
    changes = {**RULES["subtrees"][0], "direction": "both", "ephemerals": "own"}
    assert "copied back" in _refusal(_with("subtrees.0", changes))


def test_kinds_of_znodes_follow_their_patterns() -> None:
    changes = {
        **RULES["subtrees"][0],
        "containers": ["/groups/*"],
        "ttl": [{"match": "/leases/*", "ttl_ms": 5000}],
    }
    rule = parse_rules(_with("subtrees.0", changes), "rules.yaml").subtrees[0]
    assert rule.kind("/groups/x") == NodeKind(is_container=True)
    assert rule.kind("/leases/x") == NodeKind(ttl_ms=5000)
    assert rule.kind("/groups") == PERSISTENT


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("listen:", "lisen:", "listen:"),
        ("path_a: /app2", "path_a: /app", "path_a: /app2"),
        ("owner: a", "owner: c", "owner: a"),
        ("label:", "labl:", "label:"),
        ("hosts: b1", "hosts: a2", "hosts: b1"),
    ],
)
def test_an_error_names_its_line(tmp_path: Path, old: str, new: str, line: str) -> None:
    text = yaml.safe_dump(RULES, sort_keys=False)
    found = [i for i, each in enumerate(text.splitlines(), 1) if line in each]
    file = tmp_path / "rules.yaml"
    file.write_text(text.replace(old, new))
    with pytest.raises(RulesError) as caught:
        read_rules(file)
    told = re.findall(r"line (\d+)", str(caught.value))
    assert set(map(int, told)) & set(found), str(caught.value)


def test_an_error_in_a_list_of_patterns_names_the_line_of_its_entry(tmp_path: Path) -> None:
    rule = {**RULES["subtrees"][0], "exclude": ["/a", "b", "/c"]}
    text = yaml.safe_dump(_with("subtrees.0", rule), sort_keys=False)
    line = next(i for i, each in enumerate(text.splitlines(), 1) if each.strip() == "- b")
    file = tmp_path / "rules.yaml"
    file.write_text(text)
    with pytest.raises(RulesError, match=rf"line {line}: subtrees\.0\.exclude\.1"):
        read_rules(file)


def test_an_include_that_an_exclude_takes_is_refused() -> None:
    changes = {**RULES["subtrees"][0], "include": ["/a/b"], "exclude": ["/a"]}
    assert "include /a/b names nothing" in _refusal(_with("subtrees.0", changes))


def test_a_key_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("listen: a\nlisten: b\n")
    with pytest.raises(RulesError, match="line 2: key 'listen' stands on line 1 already"):
        read_rules(file)


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
