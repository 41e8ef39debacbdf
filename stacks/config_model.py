"""What all models of stack configuration have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """A part of a stack's configuration; an unknown key in it is an error."""

    # What stands below a key is for docs/reference, which stacks.reference writes: to have it here
    # would have each start of a program read its own source.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
