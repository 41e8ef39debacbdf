"""Secrets in command lines, environments and labels, taken out before anything leaves the agent.

What is a secret is told by names (`--password x`, `DB_TOKEN=x`, `-p x` of programs known for it),
by shape (user information in addresses, bearer tokens, keys of well-known makers, JSON Web Tokens),
never by guesses at randomness: ids and digests stay readable. A corpus in the tests holds what must
go and what must stay.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

REDACTED = "•••"
_LINE_CHARS_MAX = 4096
_NAMES_OF_THEM = (
    r"(?:pass(?:word|wd|phrase|code)?|pwd|secrets?|tokens?|api[-_.]?keys?|access[-_.]?keys?"
    r"|private[-_.]?keys?|secret[-_.]?keys?|encryption[-_.]?keys?|auth|authorization|credentials?"
    r"|creds?|bearer|cookie|session[-_.]?(?:id|key)|signature|sas|dsn|salt|otp|pin|jwt)"
)
_WORD_END = r"(?:[-_.](?:value|text|plain|base64|b64|0|1))?"
# A name ends in such a word, at a boundary: `compass` and `bypass` do not, `dbPassword` does.
_NAME = re.compile(
    rf"(?:^|[-_.\s/:])(?:\w+[-_.])*{_NAMES_OF_THEM}{_WORD_END}$|^pg?password$", re.IGNORECASE
)
_CAMEL = re.compile(
    r"[a-z0-9](?:Pass(?:word|wd|phrase)?|Pwd|Secret|Token|ApiKey|AccessKey|PrivateKey|SecretKey"
    r"|Credentials?)$"
)
# Names that end so, and whose value says where a secret is, or something else altogether.
_HARMLESS = re.compile(
    r"(?:[-_.](?:file|path|dir|url|uri|name|id|type|mode|ttl|timeout|length|len|size|count|ref"
    r"|algorithm|provider|env|enabled|required))$|(?:^|[-_])no[-_]|^(?:http|proxy)?auth[-_]?type$"
    r"|^-*ssh-auth-sock$|_AUTH_SOCK$|^-*(?:without|skip|disable|enable|allow)[-_]",
    re.IGNORECASE,
)
_SHAPES = (
    # user:password@ in an address.
    (re.compile(r"(?<=://)([^\s/:@'\"]{0,128}):[^\s@/'\"]{1,256}@"), rf"\1:{REDACTED}@"),
    (
        re.compile(r"\b((?:bearer|basic|digest|negotiate|token)\s+)[\w~+/.=:-]{6,}", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"), REDACTED),
    (
        re.compile(
            r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}"
            r"|\bxox[abprs]-[\w-]{10,}|\bsk-[\w-]{20,}|\bsk_live_\w{10,}|\bhvs\.[\w-]{10,}"
            r"|\bglpat-[\w-]{10,}|\bAIza[\w-]{30,}"
        ),
        REDACTED,
    ),
    (
        re.compile(
            r"((?:^|[?&;,\s'\"{])[\w.-]{0,64}?(?:password|passwd|pwd|secret|token|api[-_]?key"
            r"|access[-_]?key|credential|signature|sig)s?[\"']?\s{0,2}[=:]\s{0,2}[\"']?)"
            r"(?!\s)[^&;,\s\"'}]{1,512}",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    (
        re.compile(
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}-----|$)",
            re.DOTALL,
        ),
        REDACTED,
    ),
)


class _Program(NamedTuple):
    """Options of a program that carry a secret without saying so: joined to it, or after it."""

    joined: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


_PROGRAMS = {
    "mysql": _Program(joined=("-p",)),
    "mysqldump": _Program(joined=("-p",)),
    "mysqladmin": _Program(joined=("-p",)),
    "mariadb": _Program(joined=("-p",)),
    "sshpass": _Program(joined=("-p",), after=("-p",)),
    "redis-cli": _Program(after=("-a",)),
    "mongo": _Program(after=("-p",)),
    "mongosh": _Program(after=("-p",)),
    "mongodump": _Program(after=("-p",)),
    "docker": _Program(after=("-p",)),
    "curl": _Program(joined=("-u",), after=("-u", "--user", "-U", "--proxy-user")),
    "wget": _Program(),
    "ldapsearch": _Program(after=("-w",)),
    "smbclient": _Program(after=("-U",)),
    "openssl": _Program(after=("-passin", "-passout", "-pass", "-k", "-K")),
    "htpasswd": _Program(),
    "sqlplus": _Program(),
}


def is_secret_name(name: str) -> bool:
    """Whether what is called so is a secret."""
    bare = name.lstrip("-/")
    if _HARMLESS.search(name):
        return False
    return bool(_NAME.search(bare) or _CAMEL.search(bare))


def redact(text: str) -> str:
    """A text without secrets that show by their shape."""
    for pattern, replacement in _SHAPES:
        text = pattern.sub(replacement, text)
    return text


def redact_pair(name: str, value: str) -> str:
    """The value of a label or variable, without what is secret in it."""
    return REDACTED if value and is_secret_name(name) else redact(value)


def command_line(arguments: Sequence[str]) -> str:
    """A command line as it is sent: without secrets, cut where it is too long."""
    line: list[str] = []
    size = 0
    program = _program(arguments)
    hide_next = False
    for argument in arguments:
        shown, hide_next = _argument(argument, program, hidden=hide_next)
        line.append(shown)
        size += len(shown) + 1
        if size > _LINE_CHARS_MAX:
            break
    return " ".join(line)[:_LINE_CHARS_MAX]


def _program(arguments: Sequence[str]) -> _Program:
    # `sudo mysql`, `docker login`: the first word that is known decides.
    for argument in arguments[:3]:
        found = _PROGRAMS.get(argument.rpartition("/")[2])
        if found is not None and not _is_docker_run(argument, arguments):
            return found
    return _Program()


def _is_docker_run(argument: str, arguments: Sequence[str]) -> bool:
    """`docker run -p` publishes a port; only `docker login -p` tells a password."""
    return argument.rpartition("/")[2] == "docker" and "login" not in arguments


def _argument(argument: str, program: _Program, *, hidden: bool) -> tuple[str, bool]:
    """An argument as it is shown, and whether the next one is a secret."""
    argument = argument[:_LINE_CHARS_MAX]
    if hidden and (not argument.startswith("-") or len(argument) > 2):  # noqa: PLR2004 - one letter is an option
        return REDACTED, False
    for option in program.joined:
        if argument.startswith(option) and len(argument) > len(option) and argument[1] != "-":
            return option + REDACTED, False
    name, sign, value = argument.partition("=")
    if sign and value and " " not in name and is_secret_name(name):
        return f"{name}={REDACTED}", False
    if argument in program.after:
        return argument, True
    if argument.startswith("-") and not sign and is_secret_name(argument):
        return argument, True
    return redact(argument), False
