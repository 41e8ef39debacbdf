"""The edge between a Marathon and a proxy of the tests: whom it serves, and whom it leaves out."""

from __future__ import annotations

from pathlib import Path

from controllers.edge.driver import Edge
from controllers.edge.render import Configuration
from controllers.edge.settings import EdgeSettings
from tests.controllers.edge.test_configuration import app, checked, task
from tests.controllers.registrator.source import Marathon


class Proxy:
    """Keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[Configuration] = []

    async def apply(self, configuration: Configuration) -> None:
        self.given.append(configuration)

    @property
    def servers(self) -> list[str]:
        """`host:port` of those that get requests now."""
        lines = self.given[-1].text.splitlines()
        return [line.split()[2] for line in lines if line.startswith("  server ")]


class Rig:
    """An edge between the two."""

    def __init__(self, folder: Path) -> None:
        self.marathon, self.proxy, self.now = Marathon(), Proxy(), 100.0
        settings = EdgeSettings(marathon=("m:8080",), run_dir=folder)
        layout = settings.layout(folder / "haproxy.sock")
        self.edge = Edge(self.marathon, self.proxy, settings, layout, lambda: self.now)


async def test_a_new_leader_of_marathon_takes_nobody_from_the_edge(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    apps = [checked(app(**{"0_VHOST": "a.example"}))]
    rig.marathon.change(apps, [task(port=1, healthy=True), task(port=2, healthy=True)])
    await rig.edge.look()

    # It has heard of no check, and starts one more meanwhile.
    rig.marathon.change(apps, [task(port=1), task(port=2), task(port=3)])
    assert not await rig.edge.look()
    assert rig.proxy.servers == ["10.0.0.1:1", "10.0.0.1:2"]

    rig.marathon.change(apps, [task(port=1), task(port=2, healthy=False), task(port=3)])
    await rig.edge.look()
    assert rig.proxy.servers == ["10.0.0.1:1"]

    rig.marathon.change(apps, [task(port=n, healthy=True) for n in (1, 2, 3)])
    await rig.edge.look()
    assert rig.proxy.servers == ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3"]
