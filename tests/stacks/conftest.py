"""Projects of their own for tests that run the real engine: own folder, state and ports."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.targets.supervisor import Supervisor
from components.workload import Program
from stacks.automation import StackRunner
from stacks.program import Programs, declare
from stacks.topology import Standing
from tests import ports

CHECKOUT = Path(__file__).resolve().parents[2]
DIGEST = f"sha256:{'0' * 64}"
DEV_RESOURCES = 55
"""What a stack of `DEV` declares."""
DEV = f"""\
config:
  mesos-platform:target: kubernetes
  # a comment that must stay
  mesos-platform:kubernetes:
    node_networks: [10.0.0.0/16]
    images: {{zookeeper: z@{DIGEST}, mesos: m@{DIGEST}, platform: p@{DIGEST}}}
  mesos-platform:migration:
    position: '0'
"""


@pytest.fixture
def engine(sdk_leftovers: None) -> None:
    """The Pulumi engine; a test that needs it fails clearly where it was not installed."""
    assert Path(sys.prefix, "bin", "pulumi").exists(), "run `make tools`: no Pulumi engine"


def make_project(folder: Path) -> Path:
    """Make a folder that the engine takes for this checkout; returns it."""
    folder.mkdir()
    for name in ("Pulumi.yaml", "__main__.py"):
        shutil.copy(CHECKOUT / name, folder / name)
    # The language host and dynamic resources want the environment where Pulumi.yaml says.
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: None) -> Path:
    """A project folder with a state of its own."""
    folder = make_project(tmp_path / "project")
    state = tmp_path / "state"
    state.mkdir()
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{state}")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")
    return folder


@pytest.fixture
def dev(project: Path) -> StackRunner:
    """A stack on target `kubernetes`, initialised; nothing of it really runs."""
    (project / "Pulumi.dev.yaml").write_text(DEV)
    runner = StackRunner("dev", project)
    runner.init()
    return runner


@pytest.fixture(scope="session")
def phase_0(environment: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the configuration and the state of a `dev` stack at phase 0, to be copied: the
    update that leads there is the dearest one.
    """
    folder = tmp_path_factory.mktemp("phase-0")
    project = make_project(folder / "project")
    config = project / "Pulumi.dev.yaml"
    config.write_text(DEV)
    with pytest.MonkeyPatch.context() as patch:
        (folder / "state").mkdir()
        patch.setenv("PULUMI_BACKEND_URL", f"file://{folder / 'state'}")
        patch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")
        runner = StackRunner("dev", project)
        runner.init()
        runner.up()
    config.rename(folder / config.name)
    return folder


@pytest.fixture
def begun(project: Path, phase_0: Path, tmp_path: Path) -> StackRunner:
    """The same as `dev`, which an update has taken to phase 0."""
    shutil.copytree(phase_0 / "state", tmp_path / "state", dirs_exist_ok=True)
    shutil.copy(phase_0 / "Pulumi.dev.yaml", project)
    return StackRunner("dev", project)


def walk(dev: StackRunner, *standings: Standing) -> None:
    """Take a stack through standings by hand; removals get a permit."""
    for number, standing in enumerate(standings):
        old = dev.actual()
        permit = None
        if old is not None:
            permit = f"{old.position}>{standing.position}:9999999999:{number:064x}"
        dev.set_migration(standing, permit=permit)
        dev.up()


def stub_programs() -> Programs:
    """The stub in place of every program."""
    stub = Program(("python", str(Path(__file__).with_name("stub_process.py"))))
    return Programs(stub, stub, stub, stub, stub, stub, stub, stub)


@pytest.fixture
def local(project: Path) -> Iterator[StackRunner]:
    """A stack on target `local` whose processes are stubs; removed afterwards, also on failure."""
    with ports.free_block() as block:
        (project / "Pulumi.local.yaml").write_text(
            "config:\n"
            "  mesos-platform:target: local\n"
            f"  mesos-platform:local: {{port_base: {block.base}}}\n"
            # A stub of Marathon takes no apps.
            "  mesos-platform:cluster: {marathon: {apps: []}}\n"
        )
        runner = StackRunner("local", project, program=lambda: declare(project, stub_programs()))
        runner.init()
        yield runner
        Supervisor(project / ".local" / "local").remove_all()
