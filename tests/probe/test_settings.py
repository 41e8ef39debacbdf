"""Settings are checked whole before anything starts, and nothing of them is told that is secret."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest

from probe.agent.agent import Agent
from probe.agent.errors import SettingsError
from probe.agent.log import Log
from probe.agent.settings import Settings, parse_settings
from tests.waiting import until


def cluster(**more: Any) -> dict[str, Any]:
    return {"mesos": [{"cluster": "blue", **more}]}


ENGINE = {"url": "http://h:1", "a": "blue", "b": "green"}
WRONG = {
    "an unknown key": ({"hots": "x"}, "hots"),
    "another type": ({"lease_s": "long"}, "lease_s"),
    "an unknown collector": ({"collectors": ["hosts"]}, "hosts"),
    "an address without a scheme": ({"apps": ["localhost:80"]}, "http://host:port"),
    "an engine that nothing here can ask": ({"docker_host": "ssh://h"}, "unix:///socket"),
    "no interval": ({"publish_interval_s": 0}, "above 0"),
    "more lookups than a server bears": ({"dns_lookups_per_s": 1000}, "of 0 to 100"),
    "a lease that runs out between two reports": ({"lease_s": 4}, "two publish intervals"),
    "a port that there is not": (cluster(zookeeper=["127.0.0.1:70000"]), "host:port"),
    "a name with an empty label": (cluster(zookeeper=["zk1..example:2181"]), "host:port"),
    "a master without a port": (cluster(masters=["m"]), "host:port"),
    "two servers in one": (cluster(zookeeper=["a:2181,b:2181"]), "host:port"),
    "a scheme": (cluster(marathon=["http://h:8080"]), "host:port"),
    "digits of another script": (cluster(masters=["m:\u0665050"]), "host:port"),
    "an agent without a port": (cluster(agents=["*"]), "host:port"),
    "two clusters of a name": ({"mesos": [{"cluster": "blue"}, {"cluster": "blue"}]}, "saw blue"),
    "a cluster without a name": ({"mesos": [{"cluster": ""}]}, "an empty one"),
    "an engine twice": ({"sync_engines": [ENGINE, ENGINE]}, "each once"),
}


@pytest.mark.parametrize(("given", "says"), WRONG.values(), ids=WRONG.keys())
def test_wrong_settings_are_refused_before_anything_starts(
    given: dict[str, Any], says: str
) -> None:
    with pytest.raises(SettingsError, match="expected") as raised:
        parse_settings(json.dumps(given).encode(), "file")
    assert says in str(raised.value)


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan", "1.0e+300", "-1", "0"])
@pytest.mark.parametrize(
    "name",
    [
        *("publish_interval_s", "lease_s", "cpu_percent_max", "rss_mb_max", "buffer_mb_max"),
        "dns_lookups_per_s",
        "kubernetes.lease_s",
    ],
)
def test_numbers_that_nothing_can_be_counted_with_are_refused(name: str, number: str) -> None:
    outer, _, inner = name.rpartition(".")
    given = f"{outer}: {{{inner}: {number}}}" if outer else f"{inner}: {number}"
    if (name, number) == ("dns_lookups_per_s", "0"):
        assert parse_settings(given.encode(), "file").dns_lookups_per_s == 0
        return
    with pytest.raises(SettingsError, match="expected"):
        parse_settings(given.encode(), "file")


def test_addresses_of_every_form_are_taken() -> None:
    given = {
        "cluster": "blue",
        "masters": ["10.0.0.1:5050", "[fd00::1]:5050"],
        "zookeeper": ["zoo_1.svc:2181", "localhost:1"],
        "agents": ["*:5051", "10.0.0.2:65535"],
        "marathon": ["m\u00fcnchen.example:8080"],
    }
    assert len(parse_settings(json.dumps({"mesos": [given]}).encode(), "file").mesos) == 1


def test_settings_may_be_yaml() -> None:
    found = parse_settings(b"host: n\nmesos:\n- cluster: blue\n  masters: ['h:5050']\n", "file")
    assert found.host == "n"
    assert found.mesos[0].masters == ("h:5050",)
    assert parse_settings(b"", "file") == Settings()


SECRET: dict[str, dict[str, Any]] = {
    "of an app": {"apps": ["http://me:s3cret@h:1"]},
    "of an app that is none": {"apps": ["ftp://me:s3cret@h:1"]},
    "of an engine": {"sync_engines": [{**ENGINE, "url": "http://me:s3cret@h:1"}]},
    "of Docker": {"docker_host": "tcp://me:s3cret@h:1"},
    "of a server": cluster(zookeeper=["me:s3cret@h:2181"]),
}


@pytest.mark.parametrize("given", SECRET.values(), ids=SECRET.keys())
def test_a_user_in_an_address_is_refused_and_not_told(given: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="…@h") as raised:
        parse_settings(json.dumps(given).encode(), "file")
    assert "s3cret" not in str(raised.value)


def test_a_line_that_is_no_yaml_is_named_and_not_told() -> None:
    with pytest.raises(SettingsError, match="in line 2") as raised:
        parse_settings(b"host: n\ntoken: @s3cret\n", "file")
    assert "s3cret" not in str(raised.value)


async def test_an_agent_that_begins_says_where_its_apps_are_and_no_more() -> None:
    log = io.StringIO()
    settings = Settings(
        apps=("http://127.0.0.1:1/x?token=s3cret",), collectors=(), status_socket=""
    )
    running = asyncio.create_task(Agent(settings, Log(log)).run())
    await until(lambda: "agent.began" in log.getvalue(), "it begins")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert "127.0.0.1:1" in log.getvalue()
    assert "s3cret" not in log.getvalue()
