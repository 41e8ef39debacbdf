"""Which child of an election path leads, and what is read from it."""

from __future__ import annotations

import json

import pytest

from stacks.local.errors import ElectionError
from stacks.local.mesos.election import lowest, numbered, read_leader
from stacks.local.mesos.peers import read_pid, replica_pid

INFO = {"id": "m", "hostname": "h", "port": 5050, "pid": "master@1.2.3.4:5050"}


def test_the_lowest_number_leads_whatever_stands_before_it() -> None:
    children = ["json.info_0000000007", "log_replicas", "other_0000000003", "info"]
    assert lowest(children) == (3, "other_0000000003")
    assert lowest(["log_replicas"]) is None


def test_equal_numbers_collapse_into_one() -> None:
    assert len(numbered(["json.info_0000000001", "info_0000000001"])) == 1


def test_a_leader_is_read_from_its_node() -> None:
    leader = read_leader(4, "json.info_0000000004", json.dumps(INFO).encode())
    assert (leader.number, leader.address) == (4, "h:5050")


@pytest.mark.parametrize(
    ("name", "data"),
    [("other_0000000001", json.dumps(INFO)), ("json.info_0000000001", "{"),
     ("json.info_0000000001", "{}"), ("json.info_0000000001", "[]")],
)  # fmt: skip
def test_a_lowest_child_that_names_no_master_fails_detectors(name: str, data: str) -> None:
    with pytest.raises(ElectionError, match="delete that node"):
        read_leader(1, name, data.encode())


def test_a_replica_is_reached_by_its_pid_and_anything_else_is_fatal() -> None:
    assert read_pid("0000000001", replica_pid("127.0.0.1", 5050).encode()) == "127.0.0.1:5050"
    with pytest.raises(ElectionError):
        read_pid("0000000001", b"")
