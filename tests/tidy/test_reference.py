"""Pages of the reference say what the code says, and their examples are deployed by a test."""

from __future__ import annotations

import pytest

from stacks import reference
from stacks.reference import PAGES, Page
from tests.tidy.conftest import CHECKOUT

DEPLOYING = CHECKOUT / "tests" / "kubernetes"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.file)
def test_a_page_is_that_of_the_code(page: Page) -> None:
    found = (reference.FOLDER / page.file).read_text()

    assert found == reference.render(page), "run `python -m stacks.reference`"


def test_every_example_of_a_cluster_is_deployed_and_on_a_page() -> None:
    examples = {path.name for path in (CHECKOUT / "examples" / "clusters").glob("*.yaml")}
    text = "\n".join(path.read_text() for path in DEPLOYING.glob("test_*.py"))

    assert {page.example for page in PAGES} <= examples
    assert not [name for name in examples if f'"{name.removesuffix(".yaml")}"' not in text]


def test_every_task_that_makes_a_cluster_has_a_page() -> None:
    named = {int(task) for page in PAGES for task in page.tasks.split(",")}

    assert {*range(1, 25), 36} <= named
