"""Whom nodes of an election path name, wherever masters are called by."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from stacks.migration import readers
from stacks.topology import Color

NODES = {
    "json.info_0000000003": {"hostname": "m-0.masters.svc", "ip": "10.1.0.3", "port": 5050},
    "json.info_0000000004": {"hostname": "localhost", "ip": "127.0.0.1", "port": 5051},
    "json.info_0000000005": {"hostname": "elsewhere", "port": 5050},
    "json.info_0000000006": None,
    "log_replicas": {"ip": "10.1.0.9", "port": 1},
}


async def test_masters_are_told_by_the_name_or_the_address_that_is_declared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def children(_: object, __: str) -> list[str]:
        return list(NODES)

    async def read(_: object, path: str) -> bytes:
        return json.dumps({"address": NODES[path.rpartition("/")[2]]}).encode()

    def masters(_: Color) -> tuple[str, ...]:
        return "m-0.masters.svc:5050", "127.0.0.1:5051"

    def ensemble(_: Color) -> None:
        pass

    world: Any = SimpleNamespace(ensemble=ensemble, masters=masters)

    monkeypatch.setattr(readers.zookeeper, "children", children)
    monkeypatch.setattr(readers.zookeeper, "read", read)

    found = await readers.candidates(world, Color.GREEN)

    assert [(one.number, one.address) for one in found] == [
        (3, "m-0.masters.svc:5050"),
        (4, "127.0.0.1:5051"),
        # Another colour's leader, projected there.
        (5, "elsewhere:5050"),
        (6, "?"),
    ]
