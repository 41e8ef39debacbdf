"""Copies of Marathon's state: all znodes below `STATE_PATH` with their ACLs, as files, in between
migrations too, whose executor makes its own.

Without that state every task is somebody else's, and a newer Marathon changes it for good. What
writes the files is `zk-sync export`, which needs no running engine and asks one server; `zk-sync
import` verifies one and puts it back, while Marathon stands still. An export that fails ends the
process, so that whoever watches pods sees it; older copies stay.

The copies lie on a volume of their own. To have them elsewhere, copy that, or its snapshots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from components.base import Component, Placing, workload_name
from components.errors import ArgumentsError
from components.marathon.service import NAME, STATE_PATH
from components.mesos.sample import FRAMEWORKS_TIER
from components.workload import Member, Needs, Program, Shape, Snapshots, Workload

_COPIES = "copies"
_HOUR_S = 3600
# Takes rules, side, path, folder, seconds between two copies, and the first copy that is one too
# many. A shell that is the first process of its container hears of its end only while it waits. No
# `$(`: a container's command expands it.
_SCRIPT = """\
set -eu
trap 'exit 0' TERM INT
mkdir -p "$4"
while :; do
  name=`date -u +%Y%m%dT%H%M%SZ`
  python -m sync_engine.cli export --rules "$1" --side "$2" --path "$3" "$4/.part"
  mv "$4/.part" "$4/$name.jsonl"
  ls "$4" | grep '[.]jsonl$' | sort -r | tail -n "+$6" | while read -r old; do
    rm -f "$4/$old"
  done
  sleep "$5" & wait $!
done
"""
COMMAND = ("sh", "-c", _SCRIPT, "marathon-backup")


@dataclass(frozen=True)
class MarathonBackupArgs:
    """`hosts` are client addresses of both colours' ensembles, in an order that never changes;
    `side` is that which Marathon runs against, 0 or 1, None while it stands still. `image` holds
    the sync engine. `zookeeper_identity` names the secret with which Marathon makes its znodes.

    Raises:
        ArgumentsError: copies would be none, or made all the time.
    """

    image: str | None
    hosts: tuple[str, str]
    side: int | None
    every_h: float = 6.0
    keep: int = 28
    zookeeper_identity: str | None = None
    snapshots: Snapshots | None = None

    def __post_init__(self) -> None:
        if self.every_h <= 0 or self.keep < 1:
            msg = (
                f"expected copies every so many hours above 0 and at least 1 kept, saw "
                f"{self.every_h:g} h and {self.keep}"
            )
            raise ArgumentsError(msg)


class MarathonBackup(Component):
    """What makes the copies; `folder` is where they lie in its pod."""

    folder: str

    def __init__(self, args: MarathonBackupArgs, placing: Placing) -> None:
        name = workload_name(FRAMEWORKS_TIER, None, f"{NAME}-backup")
        member = f"{name}-0"
        directory = placing.target.directory(member)
        self.folder = f"{directory}/{_COPIES}"
        identity = args.zookeeper_identity
        workload = Workload(
            name=name,
            tier=FRAMEWORKS_TIER,
            color=None,
            shape=Shape.STATEFUL,
            program=Program(COMMAND, args.image),
            members=(Member(member, 0, _rules(args, directory, placing)),),
            config_suffix=".yaml",
            arguments=(
                "{config}",
                "ab"[args.side or 0],
                STATE_PATH,
                self.folder,
                f"{args.every_h * _HOUR_S:g}",
                str(args.keep + 1),
            ),
            volumes=(_COPIES,),
            secrets=(identity,) if identity else (),
            running=args.side is not None,
            needs=Needs(memory_mb=256, cpus=0.05),
            snapshots=args.snapshots,
        )
        super().__init__("marathon", "Backup", workload, placing)
        self.finish({"folder": self.folder})


def _rules(args: MarathonBackupArgs, directory: str, placing: Placing) -> str:
    """Rules of the sync engine, of which an export reads where the sides are."""
    identity = args.zookeeper_identity
    auth: dict[str, Any] = {}
    if identity:
        auth = {"auth": {"scheme": "digest", "file": placing.target.secret(identity)}}
    sides = {name: {"hosts": hosts, **auth} for name, hosts in zip("ab", args.hosts, strict=True)}
    subtree = {"name": NAME, "path_a": STATE_PATH, "path_b": STATE_PATH, "owner": "a"}
    rules = {"sides": sides, "state_dir": f"{directory}/none", "subtrees": [subtree]}
    return yaml.safe_dump(rules, sort_keys=False)
