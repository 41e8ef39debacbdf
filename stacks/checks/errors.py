"""Errors of the checks of a running cluster.

AnswerError     what was asked for has an answer of another form than the one that is known
"""

from __future__ import annotations


class AnswerError(Exception):
    """An answer that cannot be judged; says what was expected of whom, and what was seen."""
