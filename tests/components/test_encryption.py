"""What is said of encryption is said of every port, and is what is declared."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.network.policies import FLOWS
from components.security.encryption import WAYS, When, listed
from tests.components.conftest import Run
from tests.components.examples import FOLDER, declared, pods


def test_every_port_that_anything_may_reach_is_listed() -> None:
    assert set(WAYS) == {flow.role for flow in FLOWS}
    head, rows = listed()
    assert {len(row) for row in rows} == {len(head)}
    assert all(bool(way.key) is (way.when is When.ASKED) for way in WAYS.values())


@pytest.mark.parametrize(
    ("example", "keys"),
    [("ha", {"kubernetes.tls", "services.web_route.tls"}), ("migrating", set[str]())],
)
def test_who_serves_encrypted_ports_has_a_certificate_and_nobody_else(
    example: str, keys: set[str], run: Run, tmp_path: Path
) -> None:
    """But the sync engine, which shows its own to servers of ZooKeeper."""
    recorder = declared(run, FOLDER / f"{example}.yaml", tmp_path)
    encrypted = {
        str(role)
        for role, way in WAYS.items()
        if way.when is When.ALWAYS or (way.when is When.ASKED and way.key in keys)
    }
    seen: set[str] = set()

    for _, name, spec in pods(recorder):
        ports = {p["name"] for container in spec["containers"] for p in container.get("ports", ())}
        volumes = {volume["name"] for volume in spec.get("volumes", ())}
        asks = name == "sync-engine" and "kubernetes.tls" in keys
        assert ("certificate" in volumes) is (bool(ports & encrypted) or asks), name
        seen |= ports & encrypted

    # Servers of an operator have ports that it declares.
    by_operator = {"elasticsearch", "es-nodes"} if example == "ha" else {"zk-secure"}
    assert seen == encrypted - by_operator
