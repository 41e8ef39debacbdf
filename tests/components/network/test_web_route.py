"""The route to web interfaces, by a real HAProxy in front of a master that asks who calls: nobody
comes through without a name, viewers only look, and no password goes further than the route.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import stat
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from components.base import HostTarget, Placing
from components.errors import ArgumentsError
from components.network.web_route import (
    COMMAND,
    HEALTH_PATH,
    USER_HEADER,
    USERS,
    WebRoute,
    WebRouteArgs,
    configuration,
)
from components.targets.kubernetes import KubernetesTarget
from components.workload import Certificate, Issuer
from stacks.checks.declared import Declared
from stacks.checks.run import check
from stacks.topology import Standing
from tests.components.conftest import Run, run
from tests.controllers.edge.conftest import haproxy
from tests.local.alone import Alone, leading_alone
from tests.ports import free_port
from tests.waiting import until

__all__ = ["haproxy", "run"]

_BOUND_S = 60.0
IMAGE = f"example.invalid/haproxy@sha256:{'0' * 64}"
ADA, EVE, EVA = ("ada", "operates"), ("eve", "watches"), ("eva", "nothing")
OPERATOR, MARATHON = "operator:of-the-masters", "marathon:of-apps"
# As Marathon does, which wants its credential of whoever asks whether it is there, too.
_ANSWERS = {"/ping": (401, ""), "/v2/secret": (401, "")}


@dataclass
class Interface:
    """Something behind the route: tells what it was asked. Where `leads_to` another, it says so."""

    address: str
    leads_to: str | None = None
    asked: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        told = {"method": method, "path": path, **headers}
        status, body = _ANSWERS.get(path, (200, json.dumps(told)))
        more = ""
        if self.leads_to:
            status, more = 307, f"Location: //{self.leads_to}{path}\r\n"
        self.asked += path != "/master/weights"
        answer = f"HTTP/1.1 {status} x\r\n{more}Content-Length: {len(body)}\r\n"
        if status == 401:
            answer += 'WWW-Authenticate: Basic realm="inside"\r\n'
        writer.write(f"{answer}Connection: close\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def interface(leads_to: str | None = None) -> AsyncGenerator[Interface]:
    port = free_port()
    made = Interface(f"127.0.0.1:{port}", leads_to)
    server = await asyncio.start_server(made.serve, "127.0.0.1", port)
    try:
        yield made
    finally:
        server.close()
        await server.wait_closed()


def hashed(password: str) -> str:
    # Few rounds: a test's password needs no protection, and each request hashes it.
    words = ["openssl", "passwd", "-5", "-salt", "rounds=1000$any", password]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


@dataclass(frozen=True)
class Route:
    """A running route, and what stands behind it."""

    url: str
    leader: Alone
    follower: Interface
    log: Path

    async def ask(
        self,
        user: tuple[str, str] | None,
        path: str = "/state",
        method: str = "GET",
        **headers: str,
    ) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            return await client.request(method, f"{self.url}{path}", auth=user, headers=headers)


@asynccontextmanager
async def running(
    folder: Path, args: WebRouteArgs, certificate_dir: Path | None = None
) -> AsyncGenerator[tuple[int, Path]]:
    """HAProxy as a pod runs it; its port, and its log."""
    port = free_port()
    config, users = folder / "route.cfg", folder / "users"
    credential, own = folder / "operator", folder / "marathon"
    given = None if certificate_dir is None else str(certificate_dir)
    config.write_text(configuration(f"127.0.0.1:{port}", args, given))
    known = {name: hashed(password) for name, password in (ADA, EVE, EVA)}
    users.write_text(
        "userlist web-route\n  group viewers\n  group operators\n"
        f"  user ada password {known['ada']} groups operators\n"
        f"  user eve password {known['eve']} groups viewers\n"
        f"  user eva password {known['eva']}\n"
    )
    # As people write it, and as tools do.
    credential.write_text(OPERATOR)
    own.write_text(f"{MARATHON}\n")
    words = [*COMMAND, *map(str, (config, users, "/dev/null", credential, own))]
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*words, stdout=log, stderr=log)
    try:

        async def serves() -> bool:
            assert process.returncode is None, (folder / "log").read_text()
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return False
            writer.close()
            return True

        await until(serves, "HAProxy listens", _BOUND_S)
        yield port, folder / "log"
    finally:
        process.terminate()
        async with asyncio.timeout(_BOUND_S):
            await process.wait()


@pytest.fixture
async def route(haproxy: str, tmp_path: Path) -> AsyncIterator[Route]:
    """Two masters, one of which leads, Marathon beside them, and a route to all of them."""
    del haproxy
    credential = tmp_path / "credential"
    credential.write_text(OPERATOR)
    async with (
        leading_alone(tmp_path, credential_file=credential) as leader,
        interface(leads_to=leader.address) as follower,
        interface() as marathon,
    ):
        args = WebRouteArgs(IMAGE, (follower.address, leader.address), (marathon.address,))
        async with running(tmp_path, args) as (port, log):
            made = Route(f"http://127.0.0.1:{port}", leader, follower, log)
            await ready(made)
            yield made


async def ready(route: Route) -> None:
    """The route has found out who leads."""

    async def leads() -> bool:
        return (await route.ask(ADA)).status_code == 200

    await until(leads, "the route leads to the leader", _BOUND_S)


async def test_who_says_no_name_or_a_wrong_password_is_refused(route: Route) -> None:
    for user in (None, ("ada", "guessed"), ("nobody", "operates")):
        for path in ("/", "/state", "/ui/", "/v2/apps", "/master/api/v1"):
            answer = await route.ask(user, path)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"] == 'Basic realm="mesos-platform"'
    assert (await route.ask(None, HEALTH_PATH)).status_code == 200
    assert await strangers_are_refused(route.url)


async def test_the_leader_is_found_and_told_the_operators_credential(route: Route) -> None:
    async with httpx.AsyncClient(trust_env=False) as stranger:
        direct = await stranger.get(f"http://{route.leader.address}/state")
    assert direct.status_code == 401

    answer = await route.ask(EVE)

    assert answer.status_code == 200
    assert answer.json()["leader"] == route.leader.master.pid
    assert route.follower.asked == 0


async def test_viewers_look_and_operators_act(route: Route) -> None:
    body: dict[str, str] = {"content-type": "application/json"}
    assert (await route.ask(EVE, "/v2/apps")).status_code == 200
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert (await route.ask(EVE, "/v2/apps", method, **body)).status_code == 403
        assert (await route.ask(ADA, "/v2/apps", method, **body)).json()["method"] == method
    socket = {
        "upgrade": "websocket",
        "connection": "upgrade",
        "sec-websocket-key": base64.b64encode(bytes(16)).decode(),
    }
    assert (await route.ask(EVE, "/v2/apps", **socket)).status_code == 403
    # Of Mesos, asked by GET.
    for path in ("/logging/toggle?level=3", "//%6cogging/toggle", "/master/../profiler/start"):
        assert (await route.ask(EVE, path)).status_code == 403, path
    # Known, and of no group.
    assert (await route.ask(EVA)).status_code == 403


async def test_interfaces_hear_who_asks_and_nobody_hears_a_password(route: Route) -> None:
    heard = (await route.ask(ADA, "/v2/apps", **{USER_HEADER: "root"})).json()

    assert heard[USER_HEADER.lower()] == "ada"
    # Header names and values of the stub are lower case.
    shown = base64.b64encode(MARATHON.encode()).decode().lower()
    assert heard["authorization"] == f"basic {shown}"
    refused = await route.ask(ADA, "/v2/secret")
    # Otherwise a browser would ask for the route's own credential.
    assert refused.status_code == 502
    assert "www-authenticate" not in refused.headers
    moved = await route.ask(ADA, "/redirect")
    assert (moved.status_code, moved.headers["location"]) == (307, "/")


async def test_other_sites_cannot_use_a_browser_that_knows_the_password(route: Route) -> None:
    own = httpx.URL(route.url).netloc.decode()

    for origin, expected in ((f"http://{own}", 200), ("https://evil.invalid", 403), ("null", 403)):
        answer = await route.ask(ADA, "/v2/apps", "POST", origin=origin)
        assert answer.status_code == expected, origin


async def test_whoever_guesses_is_stopped(route: Route) -> None:
    seen = [(await route.ask(("ada", f"guess-{n}"))).status_code for n in range(30)]

    assert seen[:10] == [401] * 10
    assert seen[-1] == 429


async def test_what_was_changed_and_who_was_refused_is_logged(route: Route) -> None:
    await route.ask(ADA, "/v2/apps?token=canary", "POST")
    await route.ask(EVE, "/v2/apps", "DELETE")
    await route.ask(EVE, "/v2/looked-at")

    def lines() -> list[str]:
        return [line.partition(" ")[2] for line in route.log.read_text().splitlines()]

    await until(lambda: '"eve" DELETE "/v2/apps" 403' in lines(), "the log", _BOUND_S)
    assert '"ada" POST "/v2/apps" 200' in lines()
    text = route.log.read_text()
    assert not [word for word in ("looked-at", "canary", ADA[1], OPERATOR) if word in text]


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """A certificate as its Secret is mounted."""
    folder = tmp_path / "tls"
    folder.mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", folder / "tls.key", "-out", folder / "tls.crt"],
        capture_output=True,
        check=True,
    )  # fmt: skip
    return folder


async def test_a_certificate_is_read_as_it_is_mounted(
    haproxy: str, mounted: Path, tmp_path: Path
) -> None:
    del haproxy
    trusted = ssl.create_default_context(cafile=str(mounted / "tls.crt"))
    args = WebRouteArgs(IMAGE, ("127.0.0.1:1",), certificate=Certificate("any"))
    async with running(tmp_path, args, mounted) as (port, _):
        async with httpx.AsyncClient(verify=trusted, trust_env=False) as client:
            answer = await client.get(f"https://localhost:{port}/")
        assert answer.status_code == 401
        assert await strangers_are_refused(f"https://127.0.0.1:{port}")


async def strangers_are_refused(url: str) -> bool:
    """What `migrate check` says of a route."""
    findings = await check(Declared(Standing(), (), (), web_route=(url,)))
    (seen,) = findings.evidence
    return seen.ok and seen.numbers == {url: 401}


def test_names_of_the_cluster_are_completed_where_the_pod_is(tmp_path: Path) -> None:
    """HAProxy's own resolver knows no search domains; a stub in its place tells what it is told."""
    stub = tmp_path / "haproxy"
    stub.write_text(
        '#!/bin/sh\necho "$WEB_ROUTE_DOMAIN $WEB_ROUTE_MASTERS $WEB_ROUTE_MARATHON $*"\n'
    )
    stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "operator").write_text(f"{OPERATOR}\n")
    (tmp_path / "marathon").write_text(MARATHON)
    resolver = tmp_path / "resolv.conf"
    resolver.write_text(
        "nameserver 10.96.0.10\nsearch mesos.svc.k8s.example svc.k8s.example k8s.example corp\n"
    )
    words = [*COMMAND, "cfg", "users", str(resolver), str(tmp_path / "operator")]
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"

    def told(*words: str) -> str:
        environment = {**os.environ, "PATH": path}
        done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
        return done.stdout

    assert told(*words) == f".k8s.example {OPERATOR}  -W -db -f cfg -f users\n"
    both = told(*words, str(tmp_path / "marathon"))
    assert both == f".k8s.example {OPERATOR} {MARATHON} -W -db -f cfg -f users\n"
    args = WebRouteArgs(IMAGE, ("m-0.m.mesos.svc:5050", "10.0.0.1:5050"))
    text = configuration("127.0.0.1:1", args, None)
    assert '"m-0.m.mesos.svc${WEB_ROUTE_DOMAIN}:5050"' in text
    assert '"10.0.0.1:5050"' in text
    assert "$(" not in COMMAND[2]


def on_kubernetes() -> Placing:
    target: HostTarget = KubernetesTarget(
        namespace="mesos", storage_class=None, volume_gib=1, node_networks=["10.0.0.0/16"]
    )
    return Placing(target)


def test_pods_get_users_and_the_credential_from_secrets(run: Run) -> None:
    certificate = Certificate("web-route-tls", Issuer("company"), ("web.example.com",))
    args = WebRouteArgs(IMAGE, ("m:5050",), ("a:8080",), certificate=certificate)

    recorder = run(lambda: WebRoute(args, on_kubernetes()))

    data: dict[str, str] = recorder.named("web-route", "ConfigMap").inputs["data"]
    assert sorted(data) == ["web-route-0.cfg", "web-route-1.cfg"]
    assert "user " not in data["web-route-0.cfg"]
    pod: dict[str, Any] = recorder.named("web-route", "StatefulSet").inputs["spec"]["template"]
    secrets = {v["name"]: v["secret"] for v in pod["spec"]["volumes"] if "secret" in v}
    keys = [item["key"] for item in secrets["secrets"]["items"]]
    assert keys == [USERS, "mesos-operator", "principal-marathon"]
    asked = recorder.named("web-route", "Certificate").inputs["spec"]
    assert asked["dnsNames"] == ["web.example.com", "web-route-client.mesos.svc"]
    spec = recorder.named("web-route", "NetworkPolicy").inputs["spec"]
    assert [rule["from"] for rule in spec["ingress"]] == [
        [{"namespaceSelector": {"matchLabels": {"mesos-platform/may-use-web": "true"}}}],
        # Whoever checks that strangers are let in nowhere.
        [{"podSelector": {"matchLabels": {"app.kubernetes.io/component": "migration"}}}],
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"replicas": 0}, "at least one replica"),
        ({"masters": ()}, "saw none"),
        ({"marathon": ("app:80\n  http-request allow",)}, "host:port"),
    ],
)
def test_a_route_that_leads_nowhere_is_refused(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(ArgumentsError, match=expected):
        replace(WebRouteArgs(IMAGE, ("m:5050",)), **given)
