"""One Kubernetes cluster to be watched: `python -m tests.performance.probe.cluster_world '{…}'`.

A fake API server with objects of the size of real ones, over TLS, some of whose pods change all the
time; the agent that watches it is a process of its own, as it is in service. Prints one line of
JSON. Held to the real API server by tests/kubernetes, which runs the same collector.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from probe.agent.kubernetes.kinds import POD
from tests.kubernetes.certificates import Authority
from tests.performance.probe import cluster_objects
from tests.performance.probe.world import START_S, Result, agent, ask_agent, observe
from tests.probe.api_server import ApiServer, serving
from tests.probe.receiver import receiving
from tests.waiting import until

_PAGE = 500
# A tenth of all pods would have to be started anew each minute to come near.
_CHANGES_A_POD_S = 0.01
TOPOLOGIES = ("kubernetes_pod", "kubernetes_workload", "kubernetes_service", "kubernetes_node")


@dataclass(frozen=True)
class ClusterScenario:
    """What there is in the cluster, and how long it is looked at."""

    pods: int
    warm_s: float = 12.0
    window_s: float = 30.0
    seed: int = 7


async def run(scenario: ClusterScenario) -> Result:
    """Set the stage, measure, and take it down."""
    with tempfile.TemporaryDirectory(prefix="bench-probe-", dir="/dev/shm") as name:
        folder = Path(name)
        authority = Authority(folder)
        served = authority.issue("kube-apiserver", names=("IP:127.0.0.1",))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(served.cert, served.key)
        async with serving(context) as server, receiving() as app:
            server.page = _PAGE
            for placed in cluster_objects.make(scenario.pods, scenario.seed):
                server.happen("ADDED", placed.object, placed.path)
            url = f"https://127.0.0.1:{server.port}"
            settings = {
                "apps": [app.url],
                "host": "bench",
                "collectors": ["kubernetes"],
                # It must not slow down: what is measured is what it takes.
                "cpu_percent_max": 100,
                "rss_mb_max": 1000,
                "status_socket": str(folder / "agent.sock"),
                "kubernetes": {
                    "cluster": "bench",
                    "kubeconfig": str(authority.kubeconfig("probe", url)),
                    "lease": None,
                },
            }
            async with agent(folder, settings) as pid:
                await until(
                    lambda: len(app.nodes(POD.topology)) == scenario.pods,
                    "all pods are told of",
                    START_S,
                )
                moving = asyncio.create_task(_move(server, scenario))
                try:
                    result = await observe(
                        *(pid, app, TOPOLOGIES),
                        warm_s=scenario.warm_s,
                        window_s=scenario.window_s,
                    )
                finally:
                    moving.cancel()
                await ask_agent(folder, result)
                return result


async def _move(server: ApiServer, scenario: ClusterScenario) -> None:
    """Let pods change, one after the other."""
    chance = random.Random(scenario.seed)  # noqa: S311 - the same each time is what is wanted
    pods = server.others[POD.path]
    names = list(pods)
    pause_s = 1 / (_CHANGES_A_POD_S * scenario.pods)
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        changed = cluster_objects.restarted(pods[chance.choice(names)], chance)
        server.happen("MODIFIED", changed, POD.path)
        due += pause_s
        await asyncio.sleep(max(0.0, due - loop.time()))


if __name__ == "__main__":
    measured = asyncio.run(run(ClusterScenario(**json.loads(sys.argv[1]))))
    sys.stdout.write(f"{json.dumps(asdict(measured))}\n")
