"""A real containerd of its own, and what a kubelet asks of it: pods on the host's network.

The image is a layer with busybox alone, made here: nothing is pulled.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Generator
from pathlib import Path

from probe.agent import protobuf as pb
from probe.agent.grpc import Channel
from tests.waiting import block_until

PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr", "runc", "busybox")
IMAGE = "localhost/busybox:1"
_BOUND_S = 90.0
_RUNTIME = "runtime.v1.RuntimeService"
_NODE_NETWORK = 2


def message(number: int, *parts: bytes) -> bytes:
    """A field with a message."""
    data = b"".join(parts)
    return pb.write_text(number, data.decode("latin-1")) if data.isascii() else _raw(number, data)


def _raw(number: int, data: bytes) -> bytes:
    # A length is written as a number is: behind the key of one.
    length = pb.write_integer(1, len(data))[1:]
    return bytes([number << 3 | 2]) + length + data


def label(number: int, name: str, value: str) -> bytes:
    """An entry of a map of texts."""
    return message(number, pb.write_text(1, name), pb.write_text(2, value))


class Containerd:
    """One that runs."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._channel = Channel(str(socket), timeout_s=_BOUND_S)

    async def run_pod(self, name: str, uid: str) -> tuple[str, bytes]:
        """Start a sandbox; its id, and what containers in it are made with."""
        metadata = (pb.write_text(1, name), pb.write_text(2, uid), pb.write_text(3, "shop"))
        options = message(1, pb.write_integer(1, _NODE_NETWORK))
        config = b"".join(
            [
                message(1, *metadata),
                label(6, "io.kubernetes.pod.uid", uid),
                message(8, message(2, options)),
            ]
        )
        answer = await self.ask("RunPodSandbox", message(1, config))
        return pb.text(pb.read(answer), 1), config

    async def run(self, sandbox: tuple[str, bytes], name: str, *command: str) -> str:
        """Start a container in a sandbox."""
        config = [
            message(1, pb.write_text(1, name), pb.write_integer(2, 3)),
            message(2, pb.write_text(1, IMAGE)),
            *(pb.write_text(3, word) for word in command),
            label(9, "app", "web"),
            label(9, "db-password", "hunter22"),
        ]
        request = (pb.write_text(1, sandbox[0]), message(2, *config), message(3, sandbox[1]))
        id_ = pb.text(pb.read(await self.ask("CreateContainer", b"".join(request))), 1)
        await self.ask("StartContainer", pb.write_text(1, id_))
        return id_

    async def stop(self, id_: str) -> None:
        await self.ask("StopContainer", pb.write_text(1, id_))

    async def remove(self, id_: str) -> None:
        await self.ask("RemoveContainer", pb.write_text(1, id_))

    async def remove_pod(self, id_: str) -> None:
        for method in ("StopPodSandbox", "RemovePodSandbox"):
            await self.ask(method, pb.write_text(1, id_))

    async def ask(self, method: str, request: bytes = b"") -> bytes:
        return await self._channel.call(f"{_RUNTIME}/{method}", request)

    async def remove_all(self) -> None:
        """Leave nothing behind."""
        sandboxes = pb.messages(pb.read(await self.ask("ListPodSandbox")), 1)
        for one in sandboxes:
            await self.remove_pod(pb.text(one, 1))
        await self._channel.close()


def _config(folder: Path) -> Path:
    file = folder / "config.toml"
    file.write_text(
        f"""\
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
address = "{folder}/containerd.sock"
[ttrpc]
address = "{folder}/containerd.sock.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{IMAGE}"
# Else every sandbox dies, where the score may not be lowered.
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
"""
    )
    return file


def _image(folder: Path) -> Path:
    """An archive as `docker save` writes it."""
    busybox = shutil.which("busybox")
    assert busybox is not None
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(busybox, "bin/busybox")
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/bin/busybox", "sleep", "100000"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    file = folder / "image.tar"
    with tarfile.open(file, mode="w") as tar:
        for name, data in (
            ("config.json", json.dumps(config).encode()),
            ("layer.tar", layer.getvalue()),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return file


@contextlib.contextmanager
def running(folder: Path) -> Generator[Containerd]:
    """Start one; it is ended afterwards, and has to be left empty."""
    socket = folder / "containerd.sock"
    with (folder / "containerd.log").open("w") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "containerd", "--config", str(_config(folder))],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    command = ["ctr", "--address", str(socket), "-n", "k8s.io"]

    def serves() -> bool:
        tail = (folder / "containerd.log").read_text()[-2000:]
        assert process.poll() is None, tail
        done = subprocess.run([*command, "version"], capture_output=True, check=False)
        return done.returncode == 0

    try:
        block_until(serves, "containerd serves", _BOUND_S)
        image = str(_image(folder))
        imported = [*command, "images", "import", "--snapshotter", "native", image]
        subprocess.run(imported, check=True, capture_output=True, timeout=_BOUND_S)
        yield Containerd(socket)
    finally:
        process.terminate()
        process.wait(_BOUND_S)
