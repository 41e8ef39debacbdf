"""Settings files of controllers: one JSON document a process; an unknown key is an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from controllers.errors import SettingsError


class Part(BaseModel):
    """A part of a document."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ControllerSettings(Part):
    """One process' document."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a JSON file.

        Raises:
            SettingsError: it cannot be read, or is not such settings.
        """
        try:
            return cls.model_validate(json.loads(path.read_text()))
        except OSError as error:
            msg = f"expected settings in {path}, saw {error.strerror}: name another file"
            raise SettingsError(msg) from None
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}"
                for one in error.errors(include_url=False, include_input=False)
            )
            known = ", ".join(cls.model_fields)
            msg = f"expected {cls.__name__} in {path}, saw {problems} (known keys: {known})"
            raise SettingsError(msg) from None
        except ValueError as error:
            msg = f"expected JSON in {path}, saw {error}: correct the file"
            raise SettingsError(msg) from None
