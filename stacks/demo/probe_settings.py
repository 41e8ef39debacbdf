"""Settings with which a probe watches the demo: both colours, whichever of them exists now.

Ports of a stack are those of its block, so what a migration starts later is named already; until
then the probe says that it does not answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.base import workload_name
from components.marathon import service
from components.mesos import agents, masters
from components.mesos.access import MARATHON_SECRET
from components.sync import NAME as ENGINE
from components.targets.local import LocalTarget
from components.workload import PortRole, Secret
from components.zookeeper import TIER as ZOOKEEPER
from stacks.config import StackConfig
from stacks.demo import local_stack
from stacks.demo.errors import RefusedError
from stacks.topology import Color

HOST = "demo"
_COLLECTORS = ("host", "process", "mesos_container", "connections", "mesos")


def of(project_dir: Path) -> dict[str, Any]:
    """What `probe agent … --settings` reads.

    Raises:
        RefusedError: there is no stack yet.
        ConfigError: its file is wrong.
    """
    config = local_stack.read(project_dir)
    if config is None or config.local is None:
        msg = f"expected {local_stack.path_of(project_dir)}, there is none: run `make setup`"
        raise RefusedError(msg)
    run_dir = local_stack.run_dir_of(project_dir, config)
    target = LocalTarget(run_dir, config.local.port_base)
    return {
        "host": HOST,
        "collectors": list(_COLLECTORS),
        "status_socket": str(run_dir.parent / "probe.sock"),
        "mesos": [_cluster(config, target, color) for color in Color],
        "sync_engines": [
            {
                "url": f"http://{target.endpoint(ENGINE, None, PortRole.ENGINE, 0)}",
                "token_file": target.secret(Secret.ENGINE_TOKEN),
                "a": str(config.migration.standing.source),
                "b": str(config.migration.standing.target),
            }
        ],
    }


def _cluster(config: StackConfig, target: LocalTarget, color: Color) -> dict[str, Any]:
    sizes = config.cluster

    def each(tier: str, role: PortRole, count: int, of: Color | None) -> list[str]:
        name = tier if of is None else workload_name(tier, of)
        return [str(target.endpoint(name, of, role, index)) for index in range(count)]

    return {
        "cluster": str(color),
        "credential_file": target.secret(Secret.MESOS_OPERATOR),
        "masters": each(masters.TIER, PortRole.MASTER, sizes.masters.replicas, color),
        "agents": each(agents.TIER, PortRole.AGENT, sizes.agents.count, color),
        "zookeeper": each(ZOOKEEPER, PortRole.ZOOKEEPER_CLIENT, sizes.zookeeper.replicas, color),
        "marathon_credential_file": target.secret(MARATHON_SECRET),
        # One Marathon, which moves from colour to colour.
        "marathon": each(service.NAME, PortRole.MARATHON, sizes.marathon.instances, None),
    }
