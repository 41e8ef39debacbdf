"""A check that is silenced in one place says there why."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

from tests.tidy.conftest import CHECKOUT

SILENCED = re.compile(r"#\s*(?:noqa|type:\s*ignore|pyright:\s*ignore)\b")
REASON = re.compile(r" - \w")


def silent(path: Path) -> list[int]:
    """Lines that silence a check and give no reason."""
    text = (CHECKOUT / path).read_text()
    if not SILENCED.search(text):
        return []
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = [token for token in tokens if token.type == tokenize.COMMENT]
    return [
        token.start[0]
        for token in comments
        if SILENCED.search(token.string) and not REASON.search(token.string)
    ]


def test_a_silenced_check_says_why(sources: list[Path]) -> None:
    found = {str(path): lines for path in sources if (lines := silent(path))}

    assert found == {}
