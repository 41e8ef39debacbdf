"""Copies of Marathon's state: made and dropped by the command of the pod, from a real ensemble, and
put back into it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from kazoo.exceptions import NoAuthError

from components.base import HostTarget, Placing
from components.errors import ArgumentsError
from components.marathon.backup import COMMAND, MarathonBackup, MarathonBackupArgs
from components.targets.kubernetes import KubernetesTarget
from stacks.local.session import Session
from stacks.steps import Op, Step
from tests.components.conftest import Run, run
from tests.local.conftest import zookeeper
from tests.stacks.conftest import CHECKOUT
from tests.waiting import until

__all__ = ["run", "zookeeper"]

# Each copy starts an interpreter.
_BOUND_S = 180.0
IMAGE = f"example.invalid/platform@sha256:{'0' * 64}"
ARGS = MarathonBackupArgs(IMAGE, ("blue:2181", "green:2181"), 0, zookeeper_identity="zookeeper-m")
IDENTITY = "marathon:of-the-ensemble"


def declared(run: Run, args: MarathonBackupArgs) -> tuple[dict[str, Any], dict[str, Any]]:
    """Specification of the pods, and the rules that they read."""
    target: HostTarget = KubernetesTarget(
        namespace="mesos", storage_class=None, volume_gib=1, node_networks=["10.0.0.0/16"]
    )
    recorder = run(lambda: MarathonBackup(args, Placing(target)))
    name = "frameworks-marathon-backup"
    spec = recorder.named(name, "StatefulSet").inputs["spec"]
    data = recorder.named(name, "ConfigMap").inputs["data"]
    return spec, yaml.safe_load(data[f"{name}-0.yaml"])


def test_it_reads_where_marathon_runs_and_rests_while_that_stands_still(run: Run) -> None:
    blue, rules = declared(run, ARGS)
    green, unmoved = declared(run, replace(ARGS, side=1))
    nowhere, _ = declared(run, replace(ARGS, side=None))

    assert rules == unmoved
    assert rules["sides"]["b"]["hosts"] == "green:2181"
    words = [spec["template"]["spec"]["containers"][0]["command"][5] for spec in (blue, green)]
    assert words == ["a", "b"]
    assert (blue["replicas"], nowhere["replicas"]) == (1, 0)
    volumes = blue["template"]["spec"]["volumes"]
    (secret,) = [volume["secret"] for volume in volumes if "secret" in volume]
    assert [item["key"] for item in secret["items"]] == ["zookeeper-m"]
    # Moves of a migration may touch it, as they touch Marathon.
    assert Step(Op.UPDATE, "", "", "frameworks-marathon-backup").part == "frameworks"
    assert "$(" not in COMMAND[2]


@pytest.mark.parametrize("given", [{"keep": 0}, {"every_h": 0.0}])
def test_copies_that_would_be_none_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ArgumentsError, match="at least 1 kept"):
        replace(ARGS, **given)


@asynccontextmanager
async def copying(folder: Path, rules: Path, *, keep: int) -> AsyncGenerator[Path]:
    """The command of the pod, with a second between two copies."""
    copies = folder / "copies"
    words = [*COMMAND, str(rules), "a", "/marathon", str(copies), "1", str(keep + 1)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *words, cwd=CHECKOUT, env={**os.environ, "PATH": path}
    )
    try:
        yield copies
        process.terminate()
        async with asyncio.timeout(_BOUND_S):
            # Asked to end, it ends in order.
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_the_newest_copies_stay_and_one_of_them_can_be_put_back(
    zookeeper: str, tmp_path: Path
) -> None:
    identity = tmp_path / "identity"
    identity.write_text(IDENTITY)
    identity.chmod(0o600)
    side = {"auth": {"scheme": "digest", "file": str(identity)}}
    rules = tmp_path / "rules.yaml"
    subtree = {"name": "marathon", "path_a": "/marathon", "path_b": "/marathon", "owner": "a"}
    sides = {"a": {"hosts": zookeeper, **side}, "b": {"hosts": "127.0.0.1:1", **side}}
    document = {"sides": sides, "state_dir": str(tmp_path / "none"), "subtrees": [subtree]}
    rules.write_text(yaml.safe_dump(document))
    session = Session(zookeeper, timeout_s=10, auth=IDENTITY)
    await session.start(bound_s=_BOUND_S)
    try:
        await session.ensure("/marathon/state", session.own_acl)
        await session.create("/marathon/state/framework-id", b"us", acl=session.own_acl)
        async with copying(tmp_path, rules, keep=2) as copies:

            def kept() -> list[Path]:
                return sorted(copies.glob("*.jsonl")) if copies.exists() else []

            first = await until(lambda: kept()[:1], "a copy", _BOUND_S)
            await until(lambda: first[0] not in kept() and len(kept()) == 2, "the next", _BOUND_S)
            newest = kept()[-1]

        for path in ("state/framework-id", "state", ""):
            await session.delete(f"/marathon/{path}".rstrip("/"))
        words = ["-m", "sync_engine.cli", "import", "--rules", str(rules), "--side", "a"]
        done = await asyncio.create_subprocess_exec(
            sys.executable, *words, str(newest), cwd=CHECKOUT
        )
        assert await done.wait() == 0
        assert (await session.get("/marathon/state/framework-id")).data == b"us"
        await assert_closed(zookeeper, "/marathon/state/framework-id")
    finally:
        await session.close()


async def assert_closed(hosts: str, path: str) -> None:
    """Nobody else reads it."""
    stranger = Session(hosts, timeout_s=10)
    await stranger.start(bound_s=_BOUND_S)
    try:
        with pytest.raises(NoAuthError):
            await stranger.get(path)
    finally:
        await stranger.close()
