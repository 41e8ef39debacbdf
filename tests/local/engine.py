"""A Pulumi project of a test's own, run by the real engine beside a cluster of the test's loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any, cast

import yaml

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
STACK = "try"
BOUND_S = 300.0
_CHANGED = re.compile(r"\s*[-+~] ")
_PULUMI_YAML = """
name: test-objects
runtime:
  name: python
  options:
    virtualenv: .venv
"""


class Project:
    """An example as it stands, or a program's text, in a folder of the test's own."""

    def __init__(self, folder: Path, *, example: str = "", program: str = "") -> None:
        assert shutil.which("pulumi"), "run `make tools`: no Pulumi engine"
        self.folder = folder / "project"
        if example:
            shutil.copytree(EXAMPLES / example, self.folder)
            text = (self.folder / "Pulumi.yaml").read_text()
            # The language host and dynamic resources want the environment where this says.
            (self.folder / "Pulumi.yaml").write_text(text.replace("../../.venv", ".venv"))
        else:
            self.folder.mkdir()
            (self.folder / "Pulumi.yaml").write_text(_PULUMI_YAML)
            (self.folder / "__main__.py").write_text(program)
        (self.folder / ".venv").symlink_to(sys.prefix)
        self.state = folder / "state"
        self.state.mkdir()
        self._environment = {
            **os.environ,
            "PULUMI_BACKEND_URL": f"file://{self.state}",
            "PULUMI_CONFIG_PASSPHRASE": "test",
        }

    @property
    def name(self) -> str:
        """As Pulumi.yaml has it."""
        return str(yaml.safe_load((self.folder / "Pulumi.yaml").read_text())["name"])

    async def start(self, **config: Any) -> None:
        """Make the stack."""
        await self.pulumi("stack", "init", STACK)
        self.configure(**config)

    def configure(self, **config: Any) -> None:
        """Set values of the stack's configuration; others stay."""
        file = self.folder / f"Pulumi.{STACK}.yaml"
        text = file.read_text() if file.exists() else ""
        document: dict[str, Any] = cast("dict[str, Any] | None", yaml.safe_load(text)) or {}
        values: dict[str, Any] = document.setdefault("config", {})
        values |= {f"{self.name}:{key}": value for key, value in config.items()}
        file.write_text(yaml.safe_dump(document))

    async def _spawn(self, words: tuple[str, ...]) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            "pulumi",
            *words,
            "--non-interactive",
            cwd=self.folder,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )

    async def pulumi(self, *words: str, refused: bool = False) -> str:
        """Run the engine; returns what it printed."""
        process = await self._spawn(words)
        try:
            async with asyncio.timeout(BOUND_S):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                _kill_all_of(process)
                await process.wait()
        text = output.decode()
        assert (process.returncode != 0) is refused, text
        return text

    async def up(self, *, refused: bool = False) -> str:
        """Update without a preview."""
        return await self.pulumi("up", "--yes", "--skip-preview", refused=refused)

    async def assert_unchanged(self) -> None:
        """An update that is run again changes nothing."""
        await self.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")

    async def refresh(self) -> dict[str, str]:
        """Look at the cluster, write nothing down; returns resource → lines that it prints of what
        is another there."""
        text = await self.pulumi("refresh", "--preview-only", "--diff", "--color", "never")
        return _by_resource(text)

    async def destroy(self) -> str:
        """Take all of it back."""
        return await self.pulumi("destroy", "--yes", "--skip-preview")

    @contextlib.asynccontextmanager
    async def killed_midway(self, *words: str) -> AsyncGenerator[None]:
        """Run the engine; what runs of it at the end of the block is killed as a whole."""
        process = await self._spawn(words)
        try:
            yield
            assert process.returncode is None, (await process.communicate())[0].decode()
        finally:
            if process.returncode is None:
                _kill_all_of(process)
            # Its output may be held open by children that end a moment later.
            await process.wait()
        await self.pulumi("cancel", "--yes")


def _kill_all_of(process: asyncio.subprocess.Process) -> None:
    # Most are one group, which the engine leads; its language host makes one of its own.
    groups = {process.pid, *_groups_below(process.pid)}
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def _groups_below(pid: int) -> Iterator[int]:
    """Groups that a process' descendants lead."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                yield from _groups_below(child)
                if os.getpgid(child) == child:
                    yield child


def _by_resource(text: str) -> dict[str, str]:
    """Changed lines of a detailed diff by the name at the end of their resource's URN."""
    parts = re.split(r"\[urn=urn:pulumi:[^\]]*::([^\]:]+)\]", text)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {
        name: "\n".join(line for line in part.splitlines() if _CHANGED.match(line))
        for name, part in found.items()
        if not name.endswith(f"-{STACK}")
    }
