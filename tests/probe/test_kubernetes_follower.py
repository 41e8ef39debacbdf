"""A kind that is listed and watched, whatever the server does meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from probe.agent.errors import AbsentError, SettingsError
from probe.agent.http import Place
from probe.agent.kubernetes import access, follower, rows
from probe.agent.kubernetes.access import Access, Trust
from probe.agent.kubernetes.api import Api
from probe.agent.kubernetes.follower import Follower, Sight
from probe.agent.kubernetes.kinds import NAMESPACE
from probe.agent.kubernetes.rows import Scope
from probe.agent.kubernetes.tables import Rows
from probe.report.table import Table
from tests.probe.api_server import ApiServer, serving
from tests.probe.sites import News, site
from tests.waiting import until

SCOPE = Scope("blue")
STATUS = {"kind": "Status", "message": "namespaces is forbidden", "reason": "Forbidden"}


class World:
    """A server, and a follower of its namespaces."""

    def __init__(self, server: ApiServer, token: str | Path | None = None) -> None:
        self.server = server
        self.table: Table = site().ledger["kubernetes_namespace"]
        self.news = News()
        place = Place("127.0.0.1", server.port)
        self.api = Api(Access(place, Trust(b"", None), token=token))
        self.follower = Follower(
            self.api,
            NAMESPACE,
            Rows(self.table, lambda found: rows.namespace(found, SCOPE), owns=lambda _: False),
            listing=asyncio.Lock(),
            changed=self.news,
            chance=random.Random(7),  # noqa: S311 - pauses, the same each time
        )

    def told(self) -> dict[str, Any]:
        return {id_.partition(";")[2]: row.get("phase") for id_, row in self.table}

    def truth(self) -> dict[str, Any]:
        return {n: found["status"]["phase"] for n, found in self.server.objects.items()}

    async def agree(self) -> None:
        """Wait until what is told is what there is."""
        await until(lambda: self.told() == self.truth(), "it is told")

    async def seen(self, sight: Sight) -> None:
        await until(lambda: self.follower.sight is sight, f"it is {sight}")


@contextlib.asynccontextmanager
async def following(token: str | Path | None = None) -> AsyncGenerator[World]:
    async with serving() as server:
        for name in "abcde":
            server.put(name)
        world = World(server, token)
        task = asyncio.create_task(world.follower.run())
        try:
            yield world
        finally:
            task.cancel()
            await asyncio.wait({task})
            await world.api.close()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between tries are shorter."""
    monkeypatch.setattr(follower, "_RETRY_S", (0.01, 0.02))
    monkeypatch.setattr(follower, "_DENIED_RETRY_S", 0.05)
    monkeypatch.setattr(follower, "_REFUSED_S", 0.2)


async def test_all_pages_are_read_and_changes_told_as_they_come() -> None:
    async with following() as world:
        await world.agree()
        assert len(world.told()) == 5
        assert world.news.count == 0

        world.server.put("f")
        world.server.put("a", "Terminating")
        world.server.remove("b")

        await world.agree()
        assert world.news.count == 3
        assert world.follower.lists == 1


async def test_a_watch_that_breaks_goes_on_where_it_was() -> None:
    async with following() as world:
        await until(lambda: world.server.watches, "it watches")
        for number in range(3):
            world.server.cut()
            world.server.put(f"new-{number}")
            world.server.remove("abc"[number])
            await world.agree()

        assert world.server.lists == 1
        assert world.server.watches > 1


async def test_a_version_that_is_gone_is_listed_anew_and_what_is_gone_is_taken_away() -> None:
    async with following() as world:
        await until(lambda: world.server.watches, "it watches")
        world.server.is_silent = True
        world.server.put("f")
        world.server.remove("a")
        world.server.forget()
        world.server.is_silent = False
        world.server.cut()

        await world.agree()
        assert world.server.lists == 2
        assert "a" not in world.told()


async def test_bookmarks_keep_the_version_young() -> None:
    async with following() as world:
        await until(lambda: world.server.watches, "it watches")
        world.server.bookmark()
        world.server.put("f")
        await world.agree()
        world.server.forget()
        world.server.cut()
        world.server.put("g")

        await world.agree()
        assert world.server.lists == 1


async def test_a_silent_connection_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "_SILENCE_S_MAX", 0.1)
    async with following() as world:
        await until(lambda: world.server.watches, "it watches")
        world.server.is_silent = True
        world.server.put("f")
        await until(lambda: world.server.watches > 2, "it tries again")
        world.server.is_silent = False

        await world.agree()
        assert world.server.lists == 1


REFUSALS = {
    "a permission that is missing": (403, json.dumps(STATUS).encode(), Sight.DENIED, "forbidden"),
    "a kind that nobody knows": (404, b"404 page not found\n", Sight.ABSENT, "404"),
    "a server that is too busy": (429, b"", Sight.TROUBLED, "429"),
    "a server that is ill": (500, b"\xff\x00", Sight.TROUBLED, "500"),
    "no JSON": (200, b"<html>\n", Sight.TROUBLED, "JSON is malformed"),
    "JSON of something else": (200, b'{"metadata": 7}\n', Sight.TROUBLED, "Expected `object`"),
}


@pytest.mark.parametrize(("status", "body", "sight", "says"), REFUSALS.values(), ids=REFUSALS)
async def test_whatever_a_server_answers_is_told_and_outlived(
    status: int, body: bytes, sight: Sight, says: str
) -> None:
    async with following() as world:
        await until(lambda: world.server.watches, "it watches")
        world.server.forget()
        world.server.put("f")
        world.server.answers = [(status, body)] * 500
        world.server.cut()

        await world.seen(sight)
        await until(lambda: says in world.follower.problem, f"it says {says}")
        if sight is Sight.TROUBLED:
            assert "a" in world.told(), "what was seen holds until it is known better"
        else:
            await until(lambda: not world.told(), "what may not be seen is not known")
        world.server.answers = []

        await world.agree()
        await world.seen(Sight.SYNCED)
        assert world.follower.problem == ""


@pytest.mark.parametrize(("status", "sight"), [(403, Sight.DENIED), (404, Sight.ABSENT)])
async def test_a_refusal_that_passes_takes_nothing_away(
    status: int, sight: Sight, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "_REFUSED_S", 60.0)
    async with following() as world:
        await until(lambda: world.server.watches, "it watches")
        world.server.answers = [(status, b"")] * 500
        world.server.cut()

        await world.seen(sight)
        await until(lambda: len(world.server.answers) < 495, "it is asked for again")
        assert world.told() == world.truth()
        world.server.remove("a")
        world.server.answers = []

        await world.agree()
        await world.seen(Sight.SYNCED)
        assert world.server.lists == 1


async def test_a_kind_that_is_refused_is_forgotten_whatever_else_fails_between() -> None:
    async with following() as world:
        await until(lambda: world.server.watches, "it watches")
        world.server.answers = [(403, b""), (503, b""), (403, b""), (500, b"")] * 500
        world.server.cut()

        await until(lambda: not world.told(), "it is forgotten")
        assert world.follower.lists == 1


async def test_refusals_of_long_ago_say_nothing_of_a_server_that_has_just_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(follower, "_REFUSED_S", 0.05)
    monkeypatch.setattr(follower, "_REFUSED_AGAIN_S", 0.1)
    async with following() as world:
        await until(lambda: world.server.watches, "it watches")
        away = [(503, b"")] * 30  # Of a hundredth of a second at least, each.
        world.server.answers = [(403, b""), *away] * 3
        world.server.cut()

        await until(lambda: not world.server.answers, "it has begun")
        await world.seen(Sight.SYNCED)
        assert world.told() == world.truth()
        assert world.server.lists == 1


@pytest.mark.parametrize("line", [b"nonsense\n", b'{"type":"ADDED","object":7}\n'])
async def test_an_event_that_cannot_be_read_leads_to_a_new_list(line: bytes) -> None:
    async with following() as world:
        await until(lambda: world.server.watches, "it watches")
        world.server.answers = [(200, line)]
        world.server.cut()

        await until(lambda: world.server.lists == 2, "it lists again")
        await world.agree()


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happens_in_whatever_order_the_rows_are_the_server_s(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable
    async with following() as world:
        await world.follower.tried.wait()
        for _ in range(60):
            name = chance.choice("abcdefgh")
            match chance.randrange(8):
                case 0 | 1 | 2:
                    world.server.put(name, chance.choice(("Active", "Terminating")))
                case 3 | 4:
                    if name in world.server.objects:
                        world.server.remove(name)
                case 5:
                    world.server.cut()
                case 6:
                    world.server.forget()
                    world.server.cut()
                case _:
                    await asyncio.sleep(0.002)
        await world.agree()


async def test_a_token_is_read_anew_for_each_request(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    async with following(file) as world:
        await until(lambda: world.server.watches, "it watches")
        assert set(world.server.tokens) == {"Bearer first"}
        file.write_text("second\n")
        world.server.cut()
        await until(lambda: world.server.tokens[-1] == "Bearer second", "the new one is used")


def kubeconfig(folder: Path, user: dict[str, Any], **cluster: Any) -> Path:
    server = {"server": "https://api.example:6443", "certificate-authority": "ca.crt", **cluster}
    document = {
        "clusters": [{"name": "c", "cluster": server}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
        "current-context": "x",
    }
    file = folder / "kubeconfig"
    file.write_text(json.dumps(document))
    return file


def test_a_kubeconfig_is_read_as_kubectl_reads_it(tmp_path: Path) -> None:
    found = access.of_kubeconfig(kubeconfig(tmp_path, {"token": "t"}))

    assert (found.place.host, found.place.port, found.place.is_tls) == ("api.example", 6443, True)
    assert found.namespace == "n"
    assert found.headers()["Authorization"] == "Bearer t"
    (tmp_path / "t").write_text("from a file\n".replace(" ", "-"))
    by_file = access.of_kubeconfig(kubeconfig(tmp_path, {"tokenFile": "t"}))
    assert by_file.headers()["Authorization"] == "Bearer from-a-file"


WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a program": ({"exec": {"command": "aws"}}, {}, "a program that makes tokens"),
    "no check of certificates": ({}, {"insecure-skip-tls-verify": True}, "unchecked certificate"),
    "a proxy": ({}, {"proxy-url": "http://p"}, "a proxy"),
    "no authority": ({}, {"certificate-authority": ""}, "no https server"),
    "no TLS": ({}, {"server": "http://api:80"}, "no https server"),
    "data that is none": ({}, {"certificate-authority-data": "%%"}, "certificate-authority-data"),
}


@pytest.mark.parametrize(("user", "cluster", "says"), WRONG.values(), ids=WRONG)
def test_a_kubeconfig_that_cannot_be_used_says_why(
    user: dict[str, Any], cluster: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=says):
        access.of_kubeconfig(kubeconfig(tmp_path, user, **cluster))


def test_files_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="kubeconfig"):
        access.of_kubeconfig(tmp_path / "none")
    found = access.of_kubeconfig(kubeconfig(tmp_path, {}))
    with pytest.raises(SettingsError, match="certificates"):
        found.trust.context()


def test_outside_of_a_cluster_there_is_nothing_to_ask(tmp_path: Path) -> None:
    with pytest.raises(AbsentError) as raised:
        access.find(None, str(tmp_path), {})
    assert "kubeconfig" in raised.value.grant

    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("monitoring")
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    found = access.find(None, str(tmp_path), environment)
    assert found.place == Place("fd00::1", 443, is_tls=True)
    assert found.namespace == "monitoring"


@pytest.mark.parametrize(
    "line",
    [
        b"token: @s3cr3t-token-value",
        b"token: s3cr3t: token-value",
        b'token: "s3cr3t-token\\q"',
        b'token: "s3cr3t\\ntoken"',
        "token: s3cr3t-t\u00f6ken".encode(),
    ],
)
def test_a_token_that_cannot_be_read_is_told_by_its_place_alone(
    tmp_path: Path, line: bytes
) -> None:
    file = tmp_path / "kubeconfig"
    whole = kubeconfig(tmp_path, {"token": "TOKEN"}).read_text()
    file.write_bytes(
        whole.replace('"token": "TOKEN"', "\n  TOKEN\n").encode().replace(b"TOKEN", line)
    )
    with pytest.raises(SettingsError, match=r"in line 2|printable") as raised:
        access.of_kubeconfig(file)
    assert "s3cr3t" not in str(raised.value)
