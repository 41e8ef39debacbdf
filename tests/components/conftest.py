"""Components run against Pulumi's mocks: what they register is asserted synchronously."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pulumi
import pytest

from components.base import HostTarget, Placing
from components.targets.local import LocalTarget


@dataclass
class Registered:
    """A resource that a program registered."""

    type: str
    name: str
    inputs: dict[str, Any]


@dataclass
class Recorder(pulumi.runtime.Mocks):
    """Echoes inputs and keeps them."""

    resources: list[Registered] = field(default_factory=list[Registered])

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, Any]:
        given = cast("dict[str, Any]", args.inputs)  # pyright: ignore[reportUnknownMemberType] - untyped
        inputs = {key: value for key, value in given.items() if key != "__provider"}
        self.resources.append(Registered(args.typ, args.name, inputs))
        return f"{args.name}-id", inputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[str, Any], None]:
        del args
        return {}, None

    def named(self, name: str, type_: str = "") -> Registered:
        """The one resource of that name whose type ends so."""
        found = [r for r in self.resources if r.name == name and r.type.endswith(type_)]
        assert len(found) == 1, [(r.type, r.name) for r in self.resources]
        return found[0]

    def config_of(self, name: str) -> str:
        """The configuration file of a process on this machine."""
        return str(self.named(name, "local:Process").inputs["config"])

    def names(self, type_: str) -> list[str]:
        """Names of all resources whose type ends so."""
        return sorted(r.name for r in self.resources if r.type.endswith(type_))


Run = Callable[[Callable[[], Any]], Recorder]


@pytest.fixture
def run(sdk_leftovers: None) -> Run:
    """Run a function as a Pulumi program against mocks."""

    def with_mocks(program: Callable[[], Any]) -> Recorder:
        recorder = Recorder()

        def work() -> None:
            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
            try:
                pulumi.runtime.set_mocks(
                    recorder, project="mesos-platform", stack="local", preview=False
                )
                pulumi.runtime.test(program)()  # pyright: ignore[reportUnknownMemberType] - untyped
            finally:
                loop.run_until_complete(loop.shutdown_default_executor())
                loop.close()

        # The SDK takes the thread's current loop. This thread's is the affair of other tests.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(work).result()
        return recorder

    return with_mocks


@pytest.fixture
def placing(tmp_path: Path) -> Placing:
    """On this machine, nothing to wait for."""
    target: HostTarget = LocalTarget(tmp_path, 20_000)
    return Placing(target, (), protect=True)
