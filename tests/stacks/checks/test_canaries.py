"""What frameworks tell of their canaries: only the known form is judged."""

from __future__ import annotations

import pytest

from stacks.checks import canaries
from stacks.checks.errors import AnswerError
from stacks.checks.judge_agents import Canary

ONE = (
    '{"task_id": "canary-1", "agent_id": "a", "limited": true, "ok": null, "at": 7, '
    '"states": ["TASK_LOST"], "more": 1}'
)


def test_canaries_are_told_by_their_agents() -> None:
    state = f'{{"name": "sample", "canaries": [{ONE}]}}'

    told = Canary("canary-1", True, None, 7.0, ("TASK_LOST",))
    assert canaries.parse("http://f:1", state) == [("a", told)]


@pytest.mark.parametrize(
    ("state", "saw"),
    [
        ('{"name": "sample"}', "canaries: Field required"),
        ("[]", "the answer: Input should be an object"),
        ("<html>", "the answer: Invalid JSON"),
        ('{"canaries": null}', "canaries: Input should be a valid array"),
        (f'{{"canaries": [{ONE}, 7]}}', "canaries.1: Input should be an object"),
        (f'{{"canaries": [{ONE.replace("7", "null")}]}}', "canaries.0.at: Input should be a valid"),
        (f'{{"canaries": [{ONE.replace("true", "1")}]}}', "canaries.0.limited: Input should be a"),
    ],
)
def test_any_other_form_is_refused_with_what_was_seen(state: str, saw: str) -> None:
    with pytest.raises(AnswerError) as refused:
        canaries.parse("http://f:1", state)

    assert "expected http://f:1/state to tell of its canaries" in str(refused.value)
    assert f"saw {saw}" in str(refused.value)
