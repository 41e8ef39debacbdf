"""The sync engine, which keeps two ensembles equal while a cluster moves from one to the other.

Side a is the source's ensemble, side b the target's. Who owns a subtree at a given moment is
run-time state of the engine, kept in the ensembles: rules only name the subtrees, and their owner
to begin with, which is the source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from components.base import Component, Placing
from components.mesos.masters import ELECTION_PATH
from components.workload import (
    Certificate,
    Member,
    PortRole,
    Probe,
    Program,
    Readiness,
    Secret,
    Shape,
    Workload,
)

NAME = "sync-engine"
TIER = "engine"
_STATE = "state"


@dataclass(frozen=True)
class Subtree:
    """A part of the tree that has one owner at a time."""

    name: str
    path: str


@dataclass(frozen=True)
class SyncEngineArgs:
    """Which ensembles, and what of them. `name` tells migrations apart, and `fresh` a new one from
    one under way: an engine must never go on from what another pair of ensembles left behind, and
    must not lose what it knows of this one. With a `certificate`, both sides are talked to over
    TLS, on the ports of `hosts_a` and `hosts_b`."""

    name: str
    program: Program
    hosts_a: str
    hosts_b: str
    subtrees: tuple[Subtree, ...]
    fresh: bool = False
    certificate: Certificate | None = None


class SyncEngine(Component):
    """One engine; `url` answers its REST interface to who holds the token."""

    url: str
    token_file: str

    def __init__(self, args: SyncEngineArgs, placing: Placing) -> None:
        end = placing.target.endpoint(NAME, None, PortRole.ENGINE, 0)
        self.url = f"http://{end}"
        self.token_file = placing.target.secret(Secret.ENGINE_TOKEN)
        super().__init__("sync", "Engine", _workload(args, end.port, placing), placing)
        self.finish({"url": self.url, "token_file": self.token_file})


def _workload(args: SyncEngineArgs, port: int, placing: Placing) -> Workload:
    member = f"{NAME}-0"
    return Workload(
        name=NAME,
        tier=TIER,
        color=None,
        shape=Shape.STATEFUL,
        program=args.program,
        members=(Member(member, 0, _rules(args, port, placing), {PortRole.ENGINE: port}),),
        config_suffix=".yaml",
        arguments=("--rules", "{config}"),
        readiness=Readiness(Probe.TCP, PortRole.ENGINE),
        volumes=(_STATE,),
        secrets=(Secret.ENGINE_TOKEN, Secret.ZOOKEEPER_SUPER),
        fresh=args.fresh,
        certificate=args.certificate,
    )


def _rules(args: SyncEngineArgs, port: int, placing: Placing) -> str:
    common: dict[str, Any] = {
        "auth": {"scheme": "digest", "file": placing.target.secret(Secret.ZOOKEEPER_SUPER)}
    }
    if args.certificate is not None:
        folder = placing.target.certificate_dir()
        common["tls"] = {
            "ca_file": f"{folder}/ca.crt",
            "cert_file": f"{folder}/tls.crt",
            "key_file": f"{folder}/tls.key",
        }
    rules: dict[str, Any] = {
        "sides": {
            "a": {"hosts": args.hosts_a, **common},
            "b": {"hosts": args.hosts_b, **common},
        },
        "state_dir": f"{placing.target.directory(f'{NAME}-0')}/{_STATE}/{args.name}",
        "listen": f"{placing.target.listen_host()}:{port}",
        "token_file": placing.target.secret(Secret.ENGINE_TOKEN),
        "subtrees": [
            {"name": s.name, "path_a": s.path, "path_b": s.path, "owner": "a"}
            for s in args.subtrees
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
    return yaml.safe_dump(rules, sort_keys=False)
