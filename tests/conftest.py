"""What every test may rely on: our programs first on PATH, and an engine that stays home.

The Pulumi engine finds its language host, its providers and Python on PATH, and Python on PATH is
what runs dynamic providers. Nothing is downloaded and nothing is written to the user's own folder.
"""

from __future__ import annotations

import gc
import os
import sys
import time
import traceback
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from pulumi.automation._server import LanguageServer

from tests.order import longest_first
from tests.providers.kubernetes import REMEMBERS
from tests.robustness import seeds

PROVIDERS = Path(__file__).with_name("providers") / "bin"

_PROGRAM_ENDS_S_MAX = 10.0
# Nobody gives that much to a test of seconds.
_SLOW_S = 1000.0
# Fixtures that run a whole Kubernetes as long as they live.
_DEAR = frozenset({"plane", "node"})
# What `make test` does not set up (`make tools-kubernetes`, `make tools-docker`).
_RIGS = _DEAR | {"docker"}
# Speed is measured by benchmarks; an example's time says how busy the machine is.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """Mark what runs the real engine, needs a rig or leaves things behind, whichever fixture brings
    it in, and begin with what may take longest.
    """
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        if "engine" in item.fixturenames:
            item.add_marker("engine")
        if not _RIGS.isdisjoint(item.fixturenames):
            item.add_marker("long")
        if "sdk_leftovers" in item.fixturenames:
            unraisable = "ignore::pytest.PytestUnraisableExceptionWarning"
            item.add_marker(pytest.mark.filterwarnings(unraisable))
    yield
    items[:] = longest_first(
        items,
        int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")),
        bound_s=_bound_s,
        takes_turns=lambda item: item.get_closest_marker("turns") is not None,
        shares=lambda item: not _DEAR.isdisjoint(getattr(item, "fixturenames", ())),
        slow_s=_SLOW_S,
    )


def pytest_collection_finish() -> None:
    """Keep what collecting made out of each later look for garbage, a quarter of a second of it."""
    gc.collect()
    gc.freeze()


def _bound_s(item: pytest.Item) -> float:
    """What a test's own mark allows it."""
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark is not None and mark.args else 0.0


def pytest_report_header() -> str:
    """Print what must be given to make the same choices again."""
    return f"seed of fault runs: {seeds.base()} ({seeds.VARIABLE} gives another)"


@pytest.fixture
def sdk_leftovers() -> Iterator[None]:
    """Finds what Pulumi's SDK leaves behind here, and not in a test that has nothing to do with it.

    A refused program stays as a coroutine that never ends, mocks leave an event loop a thread. A
    failed update is told before the thread of its program has noticed, so that is waited for.
    """
    yield
    bound = time.monotonic() + _PROGRAM_ENDS_S_MAX
    while _runs_programs() and time.monotonic() < bound:
        time.sleep(0.01)
    gc.collect()


def _runs_programs() -> bool:
    """Whether a thread of this process is within an inline program of the Automation API."""
    run = vars(LanguageServer)["Run"].__code__
    frames = sys._current_frames()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - documented in `sys`, and no other way
    return any(
        frame.f_code is run
        for innermost in frames.values()
        for frame, _ in traceback.walk_stack(innermost)
    )


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Set once for the whole run, because session-wide servers inherit it too."""
    programs = [str(Path(sys.prefix) / "bin"), str(PROVIDERS), os.environ["PATH"]]
    os.environ |= {
        "PATH": os.pathsep.join(programs),
        "PULUMI_HOME": str(tmp_path_factory.mktemp("pulumi-home")),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        REMEMBERS: "1",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        # Engines of seconds: a fourteenth of what each costs was its looking for garbage.
        "GOGC": "400",
    }
