"""Measure previews: `python -m tests.performance.declare`.

A stack on target `kubernetes` in the middle of a migration, with all that can be declared: both
colours, pools, tenants, certificates, secrets by reference, copies of volumes, networks of
containers, Marathon and copies of its state, the edge, names, metrics, logs, the way to web
interfaces, the probe. How long its preview takes, and what runs beside the engine for
it. Objects live in the engine's state alone, so no API server is measured. Prints each figure and
writes all of them to build/bench/declare.json; never fails because something was slow.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from components.monitoring.log_stack import BEAT, ELASTICSEARCH
from components.monitoring.telemetry import OPERATOR
from components.targets.custom import CERT_MANAGER, SNAPSHOTS
from stacks.automation import StackRunner
from stacks.steps import Step
from stacks.topology import Placement, Position, Standing
from tests.conftest import PROVIDERS
from tests.performance import table
from tests.performance.sync import write
from tests.performance.table import Figure
from tests.providers.kubernetes import KNOWS, REMEMBERS
from tests.stacks.conftest import CHECKOUT, make_project

OUTPUT = CHECKOUT / "build" / "bench" / "declare.json"
_ENGINE = "pulumi"
_LOOK_S = 0.1
_TIMES = 3
_PREVIEW_S = 15.0
_BESIDE_MB = 400.0
_MB = 1024 * 1024
_GROUPS = (
    CERT_MANAGER,
    SNAPSHOTS,
    OPERATOR,
    ELASTICSEARCH[0],
    BEAT[0],
    "secrets.hashicorp.com/v1beta1",
)
# Both ensembles and both groups of masters; agents of the source.
_POSITION = Position(2)


class Beside:
    """The most memory that processes below this one, but engines, have had at one time: each
    page counted once, whoever shares it."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    @contextmanager
    def watching(self) -> Generator[None]:
        """While something is done."""
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_LOOK_S):
            total = sum(_memory(pid) for pid in _below(os.getpid()))
            self.peak_bytes = max(self.peak_bytes, total)


def _below(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in map(int, children):
            yield child
            yield from _below(child)


def _memory(pid: int) -> int:
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        # It has ended since.
        return 0
    if name == _ENGINE:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def declared(project: Path) -> StackRunner:
    """A stack that stands there, with all that can be declared."""
    values = yaml.safe_load((CHECKOUT / "examples" / "clusters" / "multi-tenant.yaml").read_text())
    ha = yaml.safe_load((CHECKOUT / "examples" / "clusters" / "ha.yaml").read_text())["config"]
    config = values["config"]
    # Masters keep shares, and none run.
    for tenant in config["mesos-platform:cluster"]["tenants"]:
        tenant.pop("limits", None)
        tenant.pop("weight", None)
    kubernetes = config["mesos-platform:kubernetes"]
    kubernetes.pop("operator")
    for key in ("tls", "sasl_users", "snapshots"):
        kubernetes[key] = ha["mesos-platform:kubernetes"][key]
    images = kubernetes["images"]
    images["networks"] = ha["mesos-platform:kubernetes"]["images"]["networks"]
    for key in ("marathon", "networks"):
        config["mesos-platform:cluster"][key] = ha["mesos-platform:cluster"][key]
    config["mesos-platform:services"] = ha["mesos-platform:services"]
    (project / "Pulumi.bench.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    runner = StackRunner("bench", project)
    runner.init()
    groups = {"traffic": Placement.SOURCE}
    for phase in range(_POSITION.phase + 1):
        runner.set_migration(Standing(position=Position(phase), groups=groups))
        runner.up()
    return runner


def measure(folder: Path) -> list[Figure]:
    """Preview it some times; the best time, and the most memory."""
    runner = declared(make_project(folder / "project"))
    times: list[float] = []
    steps: tuple[Step, ...] = ()
    beside = Beside()
    with beside.watching():
        for _ in range(_TIMES):
            began = time.monotonic()
            steps = runner.preview().steps
            times.append(time.monotonic() - began)
    note = f"{len(steps)} resources; of {_TIMES}; load {os.getloadavg()[0]:.0f}"
    return [
        Figure("preview of both colours", "s", min(times), _PREVIEW_S, note=note),
        Figure("memory beside the engine", "MB", beside.peak_bytes / _MB, _BESIDE_MB, note=note),
    ]


def main() -> None:
    """Measure, print and write."""
    with tempfile.TemporaryDirectory(prefix="bench-declare-") as name:
        folder = Path(name)
        (folder / "state").mkdir()
        programs = [str(Path(sys.prefix) / "bin"), str(PROVIDERS), os.environ["PATH"]]
        os.environ |= {
            REMEMBERS: "1",
            KNOWS: ",".join(_GROUPS),
            "PATH": os.pathsep.join(programs),
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "bench",
        }
        figures = measure(folder)
    lines = (table.head(), *map(table.as_text, figures))
    sys.stdout.write("\n".join(lines) + "\n")
    write(figures, OUTPUT)
    sys.exit(any(figure.measured is None for figure in figures))


if __name__ == "__main__":
    main()
