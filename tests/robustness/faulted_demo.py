"""A demo in which a server is killed: `python -m tests.robustness.faulted_demo SEED` in a checkout.

The demo is the ordinary one, with every proof. Where the migration stops, it must be at a named
guard, and resuming must take it to its end. Prints one JSON object; exit status 0 when every proof
holds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console

from stacks.demo import preflight, removal
from stacks.demo.run import FAILURES, Demo
from stacks.migration import events
from stacks.migration.errors import GuardFailedError, MigrationError
from stacks.migration.service import MigrationService
from tests.robustness import faults
from tests.robustness.faults import Fault

_RESUMES_MAX = 3


@dataclass
class FaultedDemo(Demo):
    """Kills what its fault says, and resumes where a guard stopped the migration."""

    fault: Fault = field(default_factory=lambda: faults.plan(0))
    killed: str | None = None
    stops: list[str] = field(default_factory=list[str])

    def _note(self, event: events.Event) -> None:
        super()._note(event)
        begins = isinstance(event, events.TransitionStarted)
        if begins and event.transition.name == self.fault.transition and self.killed is None:
            asyncio.get_running_loop().call_later(self.fault.delay_s, self._kill)

    def _kill(self) -> None:
        supervisor = removal.supervisor_of(self.project_dir)
        name = self.fault.victim(supervisor.programs())
        if name is not None and self.killed is None:
            self.killed = name
            os.kill(supervisor.status(name).pid, signal.SIGKILL)

    async def _walk(self, service: MigrationService, phase: int) -> None:
        try:
            await super()._walk(service, phase)
        except MigrationError as error:
            await self._resume(service, error)

    async def _resume(self, service: MigrationService, error: MigrationError) -> None:
        for _ in range(_RESUMES_MAX):
            kind = "guard" if isinstance(error, GuardFailedError) else type(error).__name__
            self.stops.append(f"{kind}: {error}")
            try:
                await service.resume()
            except MigrationError as again:
                error = again
            else:
                return
        raise error


def run(project_dir: Path, seed: int) -> dict[str, object]:
    """One demo with the fault of a seed; what came of it."""
    console = Console(stderr=True)
    with preflight.only_one(project_dir), preflight.prepare(project_dir, console.print):
        demo = FaultedDemo(project_dir, console, fault=faults.plan(seed))
        problem: str | None = None
        try:
            asyncio.run(demo.run())
        except FAILURES as error:
            problem = str(error)
        finally:
            made = demo.finish(problem)
    return {
        "seed": seed,
        "fault": asdict(demo.fault),
        "killed": demo.killed,
        "stops": demo.stops,
        "problem": problem,
        "failed_proofs": [asdict(proof) for proof in made.proofs if not proof.ok],
        "ok": made.ok,
    }


def main() -> int:
    """Run one seed in the working directory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("seed", type=int)
    result = run(Path.cwd(), parser.parse_args().seed)
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
