"""One real engine for all tests of this folder that a worker runs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.docker import engine as engines
from tests.docker.engine import DockerEngine
from tests.leaving import leave_out


@pytest.fixture(scope="session")
def docker() -> Iterator[DockerEngine]:
    """An engine; left out where it cannot be had. CI has installed what it takes, where it could:
    as root."""
    if os.geteuid() != 0:
        pytest.skip("expected root, to run a Docker engine in a network namespace of its own")
    if lacking := engines.missing():
        leave_out(f"expected {', '.join(lacking)}: run `make tools-docker`")
    with engines.running() as engine:
        yield engine


@pytest.fixture
def engine(docker: DockerEngine) -> Iterator[DockerEngine]:
    """The engine without a container."""
    yield docker
    for one in docker.ask("GET", "/containers/json?all=1"):
        docker.destroy(one["Id"])
