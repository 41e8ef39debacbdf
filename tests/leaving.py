"""Parts of the suite that a machine cannot run."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def leave_out(why: str) -> NoReturn:
    """Leave a test out; nothing is left out in CI, where everything is installed and may be done.

    Raises:
        pytest.fail.Exception: this is CI.
        pytest.skip.Exception: it is not.
    """
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)
