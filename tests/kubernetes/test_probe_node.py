"""The probe as it is declared, as pods of the real node beside a cluster that runs there.

What it tells an app is held to what the API server says of the same pods, what it may do to what is
claimed for it. `make robustness` runs it.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from components.mesos.access import MARATHON_SECRET, PROBE_SECRET
from components.targets.pods import SECRETS_OBJECT
from tests.kubernetes import node_stack
from tests.kubernetes.node import Node
from tests.kubernetes.probe_seen import APP, APP_PORT, Seen
from tests.kubernetes.sandbox import Sandbox
from tests.kubernetes.sandbox_init import ADDRESS
from tests.kubernetes.stack import ClusterStack
from tests.probe.receiver import receiving

pytestmark = pytest.mark.turns

_BOUND_S = 1500
_TOKEN, _TLS = "probe-token", "probe-tls"
# Makes a socket where it runs, and hands it out.
_LISTEN = """
import socket, sys
made = socket.create_server((sys.argv[2], int(sys.argv[3])))
socket.send_fds(socket.socket(fileno=int(sys.argv[1])), [b"1"], [made.fileno()])
"""


@pytest.fixture
def known() -> dict[str, str]:
    """Every secret of the stack, and the token of its probe."""
    return node_stack.values() | {"token": secrets.token_hex(24)}


@pytest.fixture
def stack(
    node: Node, project: Path, monkeypatch: pytest.MonkeyPatch, known: dict[str, str]
) -> Iterator[ClusterStack]:
    """A small stack with a probe that watches it."""
    watching = {
        "apps": [APP],
        "token_secret": _TOKEN,
        "tls": {"secret": _TLS},
        "watch": ["zookeeper", "mesos", "marathon"],
        "watchers": 1,
        "image": node.images.names["probe"],
    }
    wanted = {
        "cluster": {
            "zookeeper": {"replicas": 1},
            "masters": {"replicas": 1},
            "agents": {"count": 1},
            "framework": {"tasks": 2},
        },
        "services": {"probe": watching},
    }
    token = {"token": known["token"]}
    trusted = {"ca.crt": node.plane.authority.own.cert.read_text()}
    more = [
        ("-probe", SECRETS_OBJECT, {one: known[one] for one in (PROBE_SECRET, MARATHON_SECRET)}),
        *((suffix, _TOKEN, token) for suffix in ("-probe", "-probe-nodes")),
        *((suffix, _TLS, trusted) for suffix in ("-probe", "-probe-nodes")),
    ]
    with node_stack.running(node, project, monkeypatch, wanted, known=known, more=more) as made:
        yield made


@pytest.mark.robustness
@pytest.mark.timeout(_BOUND_S)
async def test_the_probe_sees_the_node_and_the_cluster_from_its_pods(
    node: Node, stack: ClusterStack, known: dict[str, str]
) -> None:
    serving = node_stack.certificate(node, f"app-{stack.namespace}", (f"IP:{ADDRESS}",))
    async with receiving(
        context=_context(node.plane.authority.folder, serving), listening=_listen(node.sandbox)
    ) as app:
        seen = Seen(node, stack, app)
        await seen.everything()

        seen.assert_the_node_is_told()
        # In a thread whatever waits for a command: the app must answer meanwhile.
        await asyncio.to_thread(seen.assert_pods_are_told)
        await seen.assert_mesos_is_told()
        await seen.assert_connections_are_told()
        await asyncio.to_thread(seen.assert_confined)
        await asyncio.to_thread(seen.assert_it_says_what_it_sees)
        await asyncio.to_thread(seen.assert_no_secret_is_shown, known)
        assert set(app.tokens) == {f"Bearer {known['token']}"}
        await asyncio.to_thread(seen.print_figures)


def _listen(sandbox: Sandbox) -> socket.socket:
    """A socket that listens in the sandbox's network, made there and handed out."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        words = [sys.executable, "-c", _LISTEN, str(theirs.fileno()), ADDRESS, str(APP_PORT)]
        with subprocess.Popen(sandbox.wrap(words), pass_fds=[theirs.fileno()]) as making:
            assert making.wait(timeout=60) == 0
        _, (descriptor,), _, _ = socket.recv_fds(ours, 1, 1)
        return socket.socket(fileno=descriptor)


def _context(folder: Path, serving: Mapping[str, str]) -> ssl.SSLContext:
    files = {name: folder / f"app-{name}" for name in ("tls.crt", "tls.key")}
    for name, file in files.items():
        file.touch(mode=0o600)
        file.write_text(serving[name])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["tls.crt"], files["tls.key"])
    return context
