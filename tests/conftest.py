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
