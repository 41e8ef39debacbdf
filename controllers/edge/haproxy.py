"""One HAProxy, as master and workers, which takes a new configuration without losing a request.

The master stays and holds the sockets that are listened on; at a reload it starts a worker with
the new configuration, hands it these sockets, and lets the old worker finish what it serves. No
moment exists in which nobody listens. A master whose owner was killed serves on, and the next owner
of its folder takes over from it. A configuration is asked for its faults before it is put in
place, and counts as taken when the running proxy tells its digest.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
from asyncio.subprocess import Process
from pathlib import Path

import httpx

from controllers.edge.render import DIGEST_PATH, Configuration
from controllers.errors import NotReloadedError, ProxyEndedError, RefusedError

_TAKEN_S_MAX = 20.0
_CHECK_S_MAX = 20.0
_POLL_S = 0.02
_SIGNAL_AGAIN_S = 0.5
_ASK_S_MAX = 2.0
_CONNECT_S_MAX = 5.0
_TOLD_MAX = 1000


class HAProxy:
    """Runs the program below a folder of its own; `admin` is its `address:port`.

    `hard_stop_s` is how long `stop` waits for what is still served.
    """

    def __init__(self, program: str, folder: Path, admin: str, *, hard_stop_s: float) -> None:
        self._program = program
        self._folder = folder
        self._hard_stop_s = hard_stop_s
        self._process: Process | None = None
        self._started = asyncio.Event()
        self._client = httpx.AsyncClient(
            base_url=f"http://{admin}", timeout=_ASK_S_MAX, trust_env=False
        )

    @property
    def socket(self) -> Path:
        """The run-time socket that configurations name."""
        return self._folder / "haproxy.sock"

    @property
    def pid(self) -> int | None:
        """Process of the master; None before the first configuration."""
        return None if self._process is None else self._process.pid

    @property
    def _config(self) -> Path:
        return self._folder / "haproxy.cfg"

    @property
    def _pid_file(self) -> Path:
        return self._folder / "haproxy.pid"

    @property
    def _master(self) -> Path:
        return self._folder / "master.sock"

    async def apply(self, configuration: Configuration) -> None:
        """Serve with a configuration; returns when the proxy tells that it does.

        Raises:
            RefusedError: it has faults; what served before serves on.
            NotReloadedError: it is not taken in time.
            ProxyEndedError: the proxy has ended, or cannot be started.
        """
        await self._check(configuration)
        if self._process is None:
            left = self._left_behind()
            self._place(configuration)
            self._process = await self._start(
                *("-W", "-S", f"{self._master},mode,600", "-f", str(self._config)),
                *("-p", str(self._pid_file), *left),
            )
            self._started.set()
        else:
            before = self._config.read_text()
            self._place(configuration)
            try:
                await self._reload()
                await self._taken(configuration)
            except NotReloadedError:
                # A master that starts anew must not begin with what it could not take.
                self._config.write_text(before)
                raise
            return
        await self._taken(configuration)

    async def digest(self) -> str | None:
        """What the proxy that takes connections now runs with; None where nobody answers."""
        try:
            # A connection of its own each time: an old one may belong to a worker that retires.
            answer = await self._client.get(DIGEST_PATH, headers={"connection": "close"})
        except httpx.HTTPError:
            return None
        return answer.text if answer.is_success else None

    async def watch(self) -> None:
        """Wait until the proxy ends by itself.

        Raises:
            ProxyEndedError: it has.
        """
        await self._started.wait()
        process = self._process
        if process is not None:
            await process.wait()
            self._require_running()

    async def stop(self) -> None:
        """Take no more connections, finish what is served as far as time goes, and end."""
        process, self._process = self._process, None
        await self._client.aclose()
        if process is None:
            return
        if not await _ended(process, signal.SIGUSR1, self._hard_stop_s):
            await _ended(process, signal.SIGTERM, None)

    async def _check(self, configuration: Configuration) -> None:
        candidate = self._folder / "candidate.cfg"
        candidate.write_text(configuration.text)
        process = await self._start("-c", "-f", str(candidate), told=True)
        try:
            async with asyncio.timeout(_CHECK_S_MAX):
                said, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            msg = f"expected a verdict on {candidate} within {_CHECK_S_MAX:g} s, saw none"
            raise RefusedError(msg) from None
        if process.returncode:
            told = said.decode(errors="replace")[-_TOLD_MAX:].strip()
            msg = (
                f"expected HAProxy to take {candidate}, saw it refused: {told}. "
                "What served before serves on"
            )
            raise RefusedError(msg)

    async def _start(self, *words: str, told: bool = False) -> Process:
        program = shutil.which(self._program)
        if program is None:
            msg = f"expected {self._program} on PATH, saw none: install the package haproxy"
            raise ProxyEndedError(msg)
        pipe = asyncio.subprocess.PIPE if told else None
        return await asyncio.create_subprocess_exec(
            program,
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=asyncio.subprocess.STDOUT if told else None,
        )

    def _left_behind(self) -> tuple[str, ...]:
        """What makes a new master relieve the one whose owner was killed: otherwise that one would
        keep the ports, and serve on with what it had, for ever."""
        try:
            pid = int(self._pid_file.read_text().split()[0])
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            return ()
        # The number may be another process' by now.
        return ("-sf", str(pid)) if str(self._config).encode() in words else ()

    def _place(self, configuration: Configuration) -> None:
        fresh = self._config.with_suffix(".new")
        fresh.write_text(configuration.text)
        fresh.replace(self._config)

    async def _reload(self) -> None:
        try:
            async with asyncio.timeout(_CONNECT_S_MAX):
                reader, writer = await asyncio.open_unix_connection(str(self._master))
                writer.write(b"reload\n")
                await writer.drain()
                # The master hangs up when it begins anew.
                await reader.read()
                writer.close()
        except (OSError, TimeoutError) as error:
            self._require_running()
            msg = f"expected HAProxy's master at {self._master}, saw {error!r}: look at its log"
            raise NotReloadedError(msg) from None

    async def _taken(self, configuration: Configuration) -> None:
        seen = None
        try:
            async with asyncio.timeout(_TAKEN_S_MAX):
                while (seen := await self.digest()) != configuration.digest:
                    self._require_running()
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            msg = (
                f"expected HAProxy to run with {configuration.digest} within {_TAKEN_S_MAX:g} s, "
                f"saw {seen}: look at its log; what served before serves on"
            )
            raise NotReloadedError(msg) from None

    def _require_running(self) -> None:
        if self._process is not None and self._process.returncode is not None:
            msg = (
                f"expected HAProxy to run, saw it end with {self._process.returncode}: look at "
                "its log, often a port is in use"
            )
            raise ProxyEndedError(msg)


async def _ended(process: Process, number: signal.Signals, bound_s: float | None) -> bool:
    """Whether a master that is told to end does so within the bound. It is told again and again:
    one that is just beginning anew, for a reload, does not hear it."""
    try:
        async with asyncio.timeout(bound_s):
            while process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(number)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_SIGNAL_AGAIN_S):
                        await process.wait()
    except TimeoutError:
        return False
    return True
