"""From the engine's words to typed errors.

The engine tells failures as diagnostics (with the resource they belong to) and on its standard
error. People need one message without a traceback, the executor needs to know what kind of failure
it was. Patterns are the engine's texts at the version that tools/ pins; a text that nobody knows
becomes an `UpdateFailedError` that carries the engine's words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from stacks.config import CONFIG_WRONG
from stacks.errors import (
    ConfigError,
    GateRefusedError,
    ProtectedError,
    ResourceFailedError,
    StackError,
    UpdateFailedError,
    WrongPassphraseError,
)
from stacks.gate import REFUSED
from stacks.state import locked, missing

_ANSI = re.compile(r"\x1b\[[0-9;]*m|<\{%[^%]*%\}>")
_PROVIDER_ERROR = re.compile(r"^(?:\w+\.)*\w*Error: (?P<text>.*)", re.DOTALL | re.MULTILINE)
_PROTECTED = re.compile(
    r"cannot be deleted\s+because it is protected|it is currently marked for protection"
)
_WORDS_MAX = 4000
# What Kubernetes says, and does not say: what to do.
_FORBIDDEN = re.compile(r'is forbidden: User "[^"]*" cannot')
_NOT_READY = re.compile(r"failed to fully initialize or become live|failed to become available")


@dataclass(frozen=True)
class Diagnostic:
    """An error that the engine told, and the resource it belongs to (empty: the stack)."""

    urn: str
    text: str

    @property
    def resource(self) -> str:
        """Name of the resource."""
        return self.urn.rpartition("::")[2]


def plain(text: str) -> str:
    """Text without colours."""
    return _ANSI.sub("", text).strip()


def error_of(  # noqa: PLR0911 - one a kind of error
    stack: str, diagnostics: Sequence[Diagnostic], stderr: str
) -> StackError:
    """The error that tells best why an update ended."""
    words = plain(stderr)
    told = [Diagnostic(d.urn, plain(d.text)) for d in diagnostics]
    everything = "\n".join([*(d.text for d in told), words])
    if "incorrect passphrase" in everything or "passphrase must be set" in everything:
        return WrongPassphraseError(
            f"expected the passphrase of stack {stack!r}, saw another or none. "
            "A shell gets that of this checkout's stacks, local and dev, by `. .local/env`. If "
            f"Pulumi.{stack}.yaml was made with another, set PULUMI_CONFIG_PASSPHRASE or "
            "PULUMI_CONFIG_PASSPHRASE_FILE to it; stack local holds no secret: there, removing the "
            "line `encryptionsalt` will do"
        )
    if "the stack is currently locked by" in everything:
        return locked(stack, None)
    if re.search(r"no stack named .* found", everything):
        return missing(stack)
    if REFUSED in everything:
        text = everything[everything.index(REFUSED) :].splitlines()[0]
        return GateRefusedError(text)
    if CONFIG_WRONG in everything:
        return ConfigError(_paragraph(everything, everything.index(CONFIG_WRONG)))
    if _PROTECTED.search(everything):
        return ProtectedError(_protected(everything))
    for diagnostic in told:
        if diagnostic.resource and "update failed" not in diagnostic.text:
            return ResourceFailedError(diagnostic.resource, _reason(diagnostic.text))
    return UpdateFailedError(
        f"expected the update of stack {stack!r} to succeed, the engine says: "
        f"{everything[-_WORDS_MAX:]}"
    )


def _reason(text: str) -> str:
    """What a provider said, without the engine's and Python's wrapping, and what to do about it
    where that provider is known not to say so."""
    found = list(_PROVIDER_ERROR.finditer(text))
    said = (found[-1]["text"] if found else text).strip()[-_WORDS_MAX:]
    if _FORBIDDEN.search(said):
        return f"{said}. What was done stays: give this user that right, and update again"
    if _NOT_READY.search(said):
        return f"{said}. What was applied stays: mend the cause, and update again"
    return said


def _paragraph(text: str, start: int) -> str:
    lines = text[start:].splitlines()
    kept = [lines[0]]
    for line in lines[1:]:
        if not line.startswith(("  ", "\t")):
            break
        kept.append(line)
    return "\n".join(kept)


def _protected(text: str) -> str:
    names = re.findall(r"urn:pulumi:[^\s\"']*::([^\s\"':]+)", text)
    which = ", ".join(dict.fromkeys(names)) or "a resource"
    return (
        f"expected this update to remove nothing that is protected, saw it would remove {which}. "
        "Nothing of it was removed. Take the steps with `migrate`, which unprotects what may go"
    )
