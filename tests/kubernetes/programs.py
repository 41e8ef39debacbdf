"""Programs of a rig: started with flags, watched while something is waited for, ended with it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.waiting import block_until
from tools import locate
from tools.recipes import Recipe

# Beside other work on two cores; a control plane needs 6 s on an idle machine.
_START_S_MAX = 240.0
_STOP_S_MAX = 10.0
_TAIL = 2000
Wrap = Callable[[Sequence[str]], list[str]]


def on_this_machine(words: Sequence[str]) -> list[str]:
    """A command that runs as we do; the kernel ends it with us, however we end."""
    return ["setpriv", "--pdeathsig", "KILL", *words]


class Programs:
    """Programs that end with us; the first that ends before is told with what it said last.

    `wrap` makes a command one that runs where the rig is.
    """

    def __init__(self, ending: ExitStack, folder: Path, wrap: Wrap = on_this_machine) -> None:
        self.folder = folder
        self._ending = ending
        self._wrap = wrap
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, Sequence[str]] = {}

    def start(self, recipe: Recipe, program: str, words: Mapping[str, object]) -> None:
        """Start a built one with these flags."""
        path = locate.folder(recipe.full_name) / program
        self.run(program, [str(path), *(f"--{name}={value}" for name, value in words.items())])

    def run(self, name: str, command: Sequence[str], *, files: Sequence[int] = ()) -> None:
        """Start any command; it inherits these open files."""
        self._commands[name] = command
        log = self._ending.enter_context(self._log(name).open("a"))
        process = subprocess.Popen(
            self._wrap(command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            pass_fds=files,
        )
        self._running[name] = process
        self._ending.callback(_stop, process)

    def restart(self, name: str) -> None:
        """Kill one and start it anew as it was; not from a thread, with whose end it would end."""
        self._running[name].kill()
        self._running[name].wait()
        self.run(name, self._commands[name])

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition that all of them are needed for."""

        def look() -> bool:
            for program, process in self._running.items():
                tail = self._log(program).read_text()[-_TAIL:]
                assert process.poll() is None, f"{program} ended: {tail}"
            return condition()

        block_until(look, f"{what} (logs lie in {self.folder})", _START_S_MAX)

    def _log(self, program: str) -> Path:
        return self.folder / f"{program}.log"


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
