"""A Docker engine of one's own: data, socket, and namespaces of network and mounts apart from the
machine's, so nothing of this machine is changed and nothing is pulled.

Its image is a busybox and no more. Asked over its API, as a probe asks it; no command line of
Docker's is needed.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.waiting import block_until

IMAGE = "box:1"
PROGRAMS = ("dockerd", "containerd", "runc", "iptables", "ip", "busybox")
_WORDS = ("sh", "sleep", "nc", "test", "cat", "touch", "rm", "false")
_START_S = 120.0
_ATTEMPTS = 3
_ASK_S = 60.0
# Of nobody's network: the namespace is the engine's own.
GATEWAY = "172.31.250.1"
Json = dict[str, Any]


def missing() -> list[str]:
    """Programs that this machine lacks."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


@dataclass
class DockerEngine:
    """One engine. `folder` has to have a short path: a socket lies in it."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    _holder: subprocess.Popen[bytes] | None = None
    _client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        transport = httpx.HTTPTransport(uds=str(self.socket))
        self._client = httpx.Client(transport=transport, base_url="http://docker", timeout=_ASK_S)

    @property
    def socket(self) -> Path:
        return self.folder / "docker.sock"

    @property
    def address(self) -> str:
        """As in DOCKER_HOST."""
        return f"unix://{self.socket}"

    def enter(self, *command: str) -> list[str]:
        """A command in the engine's namespaces of network and mounts."""
        assert self._holder is not None, "it was started"
        return ["nsenter", f"--target={self._holder.pid}", "--net", "--mount", *command]

    def start(self) -> None:
        """Start it, or start it again with what it had."""
        if self._holder is None:
            inside = "ip link set lo up && echo up && exec sleep infinity"
            self._holder = subprocess.Popen(
                ["unshare", "--net", "--mount", "sh", "-c", inside],
                stdout=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
            )
            assert self._holder.stdout is not None
            assert self._holder.stdout.readline() == b"up\n", "namespaces can be made"
        # On a very busy machine the engine may give up to wait for its own containerd, and end.
        for attempt in range(1, _ATTEMPTS + 1):
            self._execute()
            what = f"the engine answers; {self.log()}"
            block_until(lambda: self._answers() or not self._lives(), what, _START_S)
            if self._lives():
                return
            assert attempt < _ATTEMPTS, self.log()
            self._end_containerd()

    def _execute(self) -> None:
        places = {"data-root": "data", "exec-root": "exec", "pidfile": "docker.pid"}
        words = [f"--{name}={self.folder / place}" for name, place in places.items()]
        words += [f"--host={self.address}", f"--bip={GATEWAY}/24", "--live-restore"]
        with (self.folder / "docker.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.enter("dockerd", *words),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _lives(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """Stop it; containers run on, for whoever starts it again."""
        assert self.process is not None, "it was started"
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(_START_S)

    def hang(self) -> None:
        """Let it answer nothing any more."""
        assert self.process is not None, "it was started"
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def go_on(self) -> None:
        """Let it answer again."""
        assert self.process is not None, "it was started"
        self.process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        """End it with all of its containers."""
        with contextlib.suppress(httpx.HTTPError):
            for one in self.ask("GET", "/containers/json?all=1"):
                self.ask("DELETE", f"/containers/{one['Id']}?force=1")
        self._client.close()
        if self.process is not None and self.process.poll() is None:
            self.go_on()
            self.stop()
        self._end_containerd()
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait()
            assert self._holder.stdout is not None
            self._holder.stdout.close()

    def _end_containerd(self) -> None:
        """With `--live-restore` the engine's own containerd goes on without it."""
        file = self.folder / "exec" / "containerd" / "containerd.pid"
        if not file.exists():
            return
        pid = int(file.read_text())
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
            block_until(lambda: not Path(f"/proc/{pid}").exists(), "containerd ended", _START_S)

    def log(self) -> str:
        """The end of what it says."""
        return (self.folder / "docker.log").read_text()[-1500:]

    def _answers(self) -> bool:
        # The client does not close a socket that could not be connected.
        with socket.socket(socket.AF_UNIX) as attempt:
            try:
                attempt.connect(str(self.socket))
            except OSError:
                return False
        try:
            return self._client.get("/_ping").is_success
        except httpx.HTTPError:  # It ends, or is not ready yet.
            return False

    # What is asked of it

    def ask(self, method: str, path: str, body: Json | None = None) -> Any:
        """A request, and what was answered."""
        answer = self._client.request(method, path, json=body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        kind = answer.headers.get("content-type", "")
        return answer.json() if answer.content and kind.startswith("application/json") else None

    def import_image(self) -> None:
        """Make the image, of the machine's own busybox."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for folder in ("bin", "tmp"):
                entry = tarfile.TarInfo(folder)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
            tar.add(shutil.which("busybox") or "/bin/busybox", "bin/busybox")
            for word in _WORDS:
                link = tarfile.TarInfo(f"bin/{word}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        repository, _, tag = IMAGE.partition(":")
        answer = self._client.post(
            "/images/create",
            params={"fromSrc": "-", "repo": repository, "tag": tag},
            content=packed.getvalue(),
        )
        assert answer.is_success, answer.text

    def create(self, name: str, *command: str, **more: Any) -> str:
        """Make a container; `more` are fields of its definition. Returns its id."""
        body = {"Image": IMAGE, "Cmd": list(command or ("sleep", "1000")), **more}
        made: Mapping[str, str] = self.ask("POST", f"/containers/create?name={name}", body)
        return made["Id"]

    def run(self, name: str, *command: str, **more: Any) -> str:
        """Make a container and start it; returns its id."""
        id_ = self.create(name, *command, **more)
        self.ask("POST", f"/containers/{id_}/start")
        return id_

    def destroy(self, id_: str) -> None:
        """Remove a container, whatever it does."""
        self.ask("DELETE", f"/containers/{id_}?force=1")

    def inspect(self, id_: str) -> Json:
        """All that the engine has of a container."""
        return self.ask("GET", f"/containers/{id_}/json")


@contextlib.contextmanager
def running() -> Generator[DockerEngine]:
    """An engine with its image; everything of it is gone afterwards."""
    # The path of a socket must be short.
    folder = Path(tempfile.mkdtemp(prefix="docker-", dir="/tmp"))
    engine = DockerEngine(folder)
    try:
        engine.start()
        engine.import_image()
        yield engine
    finally:
        engine.remove()
        _remove(folder)


def _remove(folder: Path) -> None:
    """What the kernel still unmounts is there for another moment."""
    deadline = time.monotonic() + _START_S
    while True:
        try:
            shutil.rmtree(folder)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
