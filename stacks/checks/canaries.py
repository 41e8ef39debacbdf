"""What a framework tells of its canaries, in the form that this version knows. Pure.

Whoever gave the answer is not ours to trust: a framework of an older version tells of none, and
what stands at its address may be something else.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

from stacks.checks.errors import AnswerError
from stacks.checks.judge_agents import Canary


class _Canary(BaseModel):
    model_config = ConfigDict(strict=True)

    task_id: str
    agent_id: str
    limited: bool
    states: list[str]
    ok: bool | None
    at: float


class _State(BaseModel):
    """Of all that a state tells."""

    canaries: list[_Canary]


def parse(framework: str, state: str) -> list[tuple[str, Canary]]:
    """Last canaries of a framework's GET /state, with their agents' ids.

    Raises:
        AnswerError: it tells of none in this form.
    """
    try:
        found = _State.model_validate_json(state).canaries
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the answer"
        msg = (
            f"expected {framework}/state to tell of its canaries, saw {place}: {first['msg']}. See "
            "that a framework of this version is there"
        )
        raise AnswerError(msg) from None
    return [
        (one.agent_id, Canary(one.task_id, one.limited, one.ok, one.at, tuple(one.states)))
        for one in found
    ]
