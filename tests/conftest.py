"""What every test may rely on: our programs first on PATH, and an engine that stays home.

The Pulumi engine finds its language host, its providers and Python on PATH, and Python on PATH is
what runs dynamic providers. Nothing is downloaded and nothing is written to the user's own folder.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

PROVIDERS = Path(__file__).with_name("providers") / "bin"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs the real engine, whichever fixture brings it in."""
    for item in items:
        if isinstance(item, pytest.Function) and "engine" in item.fixturenames:
            item.add_marker("engine")
            # A refused program is left behind by the SDK as a coroutine and a loop that never end.
            unraisable = "ignore::pytest.PytestUnraisableExceptionWarning"
            item.add_marker(pytest.mark.filterwarnings(unraisable))


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Set once for the whole run, because session-wide servers inherit it too."""
    programs = [str(Path(sys.prefix) / "bin"), str(PROVIDERS), os.environ["PATH"]]
    os.environ |= {
        "PATH": os.pathsep.join(programs),
        "PULUMI_HOME": str(tmp_path_factory.mktemp("pulumi-home")),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
