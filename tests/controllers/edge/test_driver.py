"""The edge between a Marathon and a proxy of the tests: whom it serves, and whom it leaves out."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from controllers.edge.driver import Edge, Proxy
from controllers.edge.haproxy import HAProxy
from controllers.edge.render import Configuration
from controllers.edge.settings import EdgeSettings
from tests.controllers.edge.test_configuration import app, checked, task
from tests.controllers.registrator.source import Marathon
from tests.ports import free_port


class Recorded:
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

    def __init__(self, folder: Path, proxy: Proxy | None = None, **settings: Any) -> None:
        self.marathon, self.recorded, self.now = Marathon(), Recorded(), 100.0
        given: dict[str, Any] = {"marathon": ["m:8080"], "run_dir": folder, "bind": "127.0.0.1"}
        self.settings = EdgeSettings.model_validate({**given, **settings})
        layout = self.settings.layout(folder / "haproxy.sock")
        self.edge = Edge(
            self.marathon, proxy or self.recorded, self.settings, layout, lambda: self.now
        )


@pytest.fixture
def port_in_use() -> Iterator[int]:
    """Somebody else listens there."""
    with closing(socket.create_server(("127.0.0.1", 0))) as one:
        yield one.getsockname()[1]


async def test_a_new_leader_of_marathon_takes_nobody_from_the_edge(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    apps = [checked(app(**{"0_VHOST": "a.example"}))]
    rig.marathon.change(apps, [task(port=1, healthy=True), task(port=2, healthy=True)])
    await rig.edge.look()

    # It has heard of no check, and starts one more meanwhile.
    rig.marathon.change(apps, [task(port=1), task(port=2), task(port=3)])
    assert not await rig.edge.look()
    assert rig.recorded.servers == ["10.0.0.1:1", "10.0.0.1:2"]

    rig.marathon.change(apps, [task(port=1), task(port=2, healthy=False), task(port=3)])
    await rig.edge.look()
    assert rig.recorded.servers == ["10.0.0.1:1"]

    rig.marathon.change(apps, [task(port=n, healthy=True) for n in (1, 2, 3)])
    await rig.edge.look()
    assert rig.recorded.servers == ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3"]


async def test_a_port_that_is_in_use_is_left_out_and_takes_nothing_from_others(
    tmp_path: Path, port_in_use: int
) -> None:
    rig = Rig(tmp_path)
    apps = [
        app("/right", (free_port(),)),
        app("/wrong", (port_in_use,)),
        app("/named", (10_001,), **{"0_VHOST": "a.example", "0_PORT": str(port_in_use)}),
    ]
    tasks = [task("/right", 1), task("/wrong", 2), task("/named", 3)]
    rig.marathon.change(apps[:2], tasks)

    with structlog.testing.capture_logs() as logs:
        await rig.edge.look()

    assert rig.recorded.servers == ["10.0.0.1:1"]
    (told,) = [line for line in logs if line["event"] == "edge.label"]
    assert (told["app"], told["label"]) == ("/wrong", "HAPROXY_0_PORT")
    assert "Address already in use" in told["why"]
    # By its host name it is served all the same.
    rig.marathon.change([apps[0], apps[2]], tasks)
    await rig.edge.look()
    assert rig.recorded.servers == ["10.0.0.1:3", "10.0.0.1:1"]
    assert f":{port_in_use}" not in rig.recorded.given[-1].text


async def test_a_port_is_served_once_it_is_free(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    with closing(socket.create_server(("127.0.0.1", 0))) as one:
        rig.marathon.change([app("/web", (one.getsockname()[1],))], [task("/web", 1)])
        await rig.edge.look()
        assert rig.recorded.servers == []

    await rig.edge.look()

    assert rig.recorded.servers == ["10.0.0.1:1"]


async def test_a_proxy_that_starts_or_reloads_beside_a_port_in_use_follows_the_others(
    haproxy: str, run_dir: Path, port_in_use: int
) -> None:
    ports = {"http_port": free_port(), "admin_port": free_port(), "admin_bind": "127.0.0.1"}
    admin = f"127.0.0.1:{ports['admin_port']}"
    proxy = HAProxy(haproxy, run_dir, admin, hard_stop_s=1)
    rig = Rig(run_dir, proxy, **ports)
    right = app("/right", (free_port(),))
    try:
        for apps in (
            [right, app("/wrong", (port_in_use,))],
            [right, app("/other", (port_in_use,))],
        ):
            rig.marathon.change(apps, [task("/right", free_port(), host="127.0.0.1")])

            assert await rig.edge.look()

            assert rig.edge.current is not None
            assert await proxy.digest() == rig.edge.current.digest
    finally:
        await proxy.stop()
