"""Secrets in command lines, environments and labels, taken out before anything leaves the agent.

What is a secret is told by names (`--password x`, `DB_TOKEN=x`, `-p x` of programs known for it),
by shape (user information in addresses, bearer tokens, keys of well-known makers, JSON Web Tokens),
never by guesses at randomness: ids and digests stay readable. A corpus in the tests holds what must
go and what must stay.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence

from probe.agent import secret_options
from probe.agent.secret_options import Program

REDACTED = "•••"
_LINE_CHARS_MAX = 4096
_NAME_CHARS_MAX = 128
_NAMES_OF_THEM = (
    r"(?:pass(?:word|wd|phrase|code)?|pwd|secrets?|tokens?|api[-_.]?keys?|access[-_.]?keys?"
    r"|private[-_.]?keys?|secret[-_.]?keys?|enc(?:ryption)?[-_.]?keys?|master[-_.]?keys?"
    r"|account[-_.]?keys?|auth|authorization|credentials?|creds?|bearer|cookie"
    r"|session[-_.]?(?:id|key)|signature|sas|dsn|salt|otp|pin|jwt|require-?pass|master-?auth"
    r"|(?:store|key)-?pass|super[-_.]?digest)"
)
_WORD_END = r"(?:[-_.](?:value|text|plain|base64|b64|0|1))?"
# A name ends in such a word, at a boundary: `compass` and `bypass` do not, `dbPassword` does. What
# stands before the boundary is not matched: parts that may be split in two ways take for ever.
_NAME = re.compile(rf"(?:^|[-_.\s/:]){_NAMES_OF_THEM}{_WORD_END}$|^pg?password$", re.IGNORECASE)
_CAMEL = re.compile(
    r"[a-z0-9](?:Pass(?:word|wd|phrase)?|Pwd|Secret|Token|ApiKey|AccessKey|PrivateKey|SecretKey"
    r"|MasterKey|AccountKey|Credentials?)$"
)
# Vault's `secret_id` is a secret, whatever other ids are.
_SECRET_ID = re.compile(r"(?:^|[-_.])secret[-_.]id$", re.IGNORECASE)
# Names that end so, and whose value says where a secret is, or something else altogether.
_HARMLESS = re.compile(
    r"(?:[-_.](?:file|path|dir|url|uri|name|id|type|mode|ttl|timeout|length|len|size|count|ref"
    r"|algorithm|provider|env|enabled|required))$|(?:^|[-_])no[-_]|^(?:http|proxy)?auth[-_]?type$"
    r"|^-*ssh-auth-sock$|_AUTH_SOCK$|^-*(?:without|skip|disable|enable|allow)[-_]"
    r"|(?:^|[-_])(?:max|min|num)[-_](?:[^\W_]+[-_])*tokens?$",
    re.IGNORECASE,
)
# Where a secret is, in place of one: Mesos, Marathon and others take a file's name so.
_ROOTS = r"/(?:etc|var|run|opt|home|usr|root|mnt|srv|tmp|dev|secrets?)/"
_PLACE = re.compile(rf"{_ROOTS}[\w./@-]+|file:///\S+")
_USER_OPTIONS = frozenset(("-u", "-a", "--user", "--auth", "--userpwd", "--proxy-user"))
_USER = re.compile(r"(?!\d+:\d+$|sha\d+:|md5:)([\w.@+-]{1,64}):(?!//)\S+")
_SHELLS = frozenset(("sh", "bash", "dash", "ash", "zsh", "ksh", "busybox"))
_SHELL_OPTION = re.compile(r"-[a-z]{0,3}c")
# Words of a shell, quoted parts and blanks kept as they are.
_WORD = re.compile(r"""(?:[^\s'";|&()]|'[^']{0,4096}'?|"[^"]{0,4096}"?)+|[\s;|&()]+""")
# What stands between words, and what of it ends a command.
_BETWEEN = " \t\r\n\f\v;|&()"
_ENDS = re.compile(r"[;|&()\n]")
_SHAPES = (
    # user:password@ in an address; the last @ before the path ends it.
    (re.compile(r"(?<=://)([^\s/:@'\"]{0,128}):[^\s/'\"]{1,512}@"), rf"\1:{REDACTED}@"),
    # A header, whatever its scheme: with quoted parts up to the end, else to the end of the quote.
    (
        re.compile(
            r"((?:proxy-)?authorization[\"']?\s{0,2}[:=]\s{0,2}[\"']?digest\s)[^\n]{1,4096}",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    (
        re.compile(
            r"((?:\b|_)(?:(?:proxy-)?authorization|cookie|x-[\w-]{0,32}(?:token|key))[\"']?"
            r"\s{0,2}:\s{0,2}[\"']?(?:(?:basic|bearer|negotiate|token)(?:\s|%20))?)"
            r"[^\s\"'][^\"'\n]{0,2048}",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    # Words are not secrets: "bearer authentication", "token refresh".
    (
        re.compile(
            r"\b((?:bearer|negotiate|token)(?:\s|%20){1,2})"
            r"(?=[\w~+/.=:-]{0,512}\d|[\w~+/.=:-]{20})[\w~+/.=:-]{6,512}",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    # ZooKeeper's scheme, as an ACL and as `addauth digest user:password`.
    (
        re.compile(r"\b(digest[:\s]\s{0,2}(?!sha\d|md5)[\w.@-]{1,64}:)[^\s'\",]{1,256}"),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"), REDACTED),
    (
        re.compile(
            r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}"
            r"|\bxox[abprs]-[\w-]{10,}|\bsk-[\w-]{20,}|\b[sr]k_(?:live|test)_\w{10,}"
            r"|\bhv[sb]\.[\w-]{10,}|\bglpat-[\w-]{10,}|\bAIza[\w-]{30,}|\bnpm_\w{30,}"
            r"|\bpypi-[\w-]{30,}|\bSG\.[\w-]{16,}\.[\w-]{16,}|\bdop_v1_[0-9a-f]{32,}"
        ),
        REDACTED,
    ),
    (
        re.compile(
            r"((?:^|[?&;,=\s'\"{])[\w.-]{0,64}?(?:password|passwd|pwd|secret|token|api[-_]?key"
            r"|access[-_]?key|account[-_]?key|credential|signature|sig)s?[\"']?\s{0,2}[=:]"
            rf"\s{{0,2}}[\"']?)(?!\s|file:///|{_ROOTS})[^&;,\s\"'}}]{{1,512}}",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"([\"']auth[\"']\s{0,2}:\s{0,2}[\"'])[^\"']{1,1024}"), rf"\1{REDACTED}"),
    (
        re.compile(r"(<[\w:.-]{0,64}(?:password|secret|token)>)[^<]{1,512}(?=</)", re.IGNORECASE),
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
_BASIC = re.compile(r"\b(basic(?:\s|%20){1,2})([A-Za-z0-9+/]{6,1024}={0,2})", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """Whether what is called so is a secret."""
    # All is told by its end; a name of a thousand parts is none.
    name = name[-_NAME_CHARS_MAX:]
    bare = name.lstrip("-/")
    if _SECRET_ID.search(bare):
        return True
    if _HARMLESS.search(name):
        return False
    return bool(_NAME.search(bare) or _CAMEL.search(bare))


def redact(text: str) -> str:
    """A text without secrets that show by their shape."""
    for pattern, replacement in _SHAPES:
        text = pattern.sub(replacement, text)
    return _BASIC.sub(_basic, text)


def redact_pair(name: str, value: str) -> str:
    """The value of a label or variable, without what is secret in it."""
    return REDACTED if _is_secret(name, value) else redact(value)


def command_line(arguments: Sequence[str]) -> str:
    """A command line as it is sent: without secrets, cut where it is too long."""
    line: list[str] = []
    size = 0
    reading = _Reading(arguments)
    for argument in arguments:
        shown = reading.shown(argument[:_LINE_CHARS_MAX])
        line.append(shown)
        size += len(shown) + 1
        if size > _LINE_CHARS_MAX:
            break
    return " ".join(line)[:_LINE_CHARS_MAX]


def shell_line(text: str) -> str:
    """A line for a shell, as it is sent. Each of its commands is a command line."""
    words: list[str] = _WORD.findall(text[:_LINE_CHARS_MAX])
    shown: list[str] = []
    reading: _Reading | None = None
    for number, word in enumerate(words):
        is_between = not word.strip(_BETWEEN)
        if reading is None or (is_between and _ENDS.search(word)):
            reading = _Reading(_first_words(words[number:]))
        shown.append(word if is_between else _unquoted(word, reading))
    return redact("".join(shown))


class _Reading:
    """Goes through the arguments of one command."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._program: Program = secret_options.program(arguments)
        self._keeps_users = secret_options.takes_user_and_group(arguments)
        self._is_shell = any(one.rpartition("/")[2] in _SHELLS for one in arguments[:3])
        self._place = 0
        self._before = ""
        self._hides_next = False
        self._countdown = 0

    def shown(self, argument: str) -> str:
        """The next argument, as it is shown."""
        before, self._before = self._before, argument
        self._place += 1
        if self._countdown:
            self._countdown -= 1
            if not self._countdown:
                return REDACTED
        if self._hides_next:
            self._hides_next = False
            # One letter is an option.
            if not argument.startswith("-") or len(argument) > 2:  # noqa: PLR2004 - a dash and it
                return argument if _PLACE.fullmatch(argument) else REDACTED
        if self._is_shell and _SHELL_OPTION.fullmatch(before):
            return shell_line(argument)
        return self._judged(argument, before)

    def _judged(self, argument: str, before: str) -> str:
        program = self._program
        for word, distance in program.words:
            if argument == word:
                self._countdown = distance
        if program.first and self._place == 2 and "/" in argument:  # noqa: PLR2004 - after the program
            return f"{argument.partition('/')[0]}/{REDACTED}"
        for option in program.joined:
            if argument.startswith(option) and len(argument) > len(option) and argument[1] != "-":
                return option + REDACTED
        name, sign, value = argument.partition("=")
        if sign and " " not in name and _is_secret(name, value):
            return f"{name}={REDACTED}"
        if argument in program.after or (
            argument.startswith("-") and not sign and is_secret_name(argument)
        ):
            self._hides_next = True
            return argument
        has_user = before in _USER_OPTIONS and not self._keeps_users
        if has_user or before == "digest":  # ZooKeeper's `addauth digest user:password`.
            user = _USER.fullmatch(argument)
            if user is not None:
                return f"{user[1]}:{REDACTED}"
        return redact(argument)


def _is_secret(name: str, value: str) -> bool:
    return bool(value) and is_secret_name(name) and not _PLACE.fullmatch(value)


def _first_words(words: Sequence[str]) -> list[str]:
    """The words of the first of several commands."""
    found: list[str] = []
    for word in words:
        if word.strip(_BETWEEN):
            found.append(word.strip("'\""))
        elif found and _ENDS.search(word):
            break
    return found


def _unquoted(word: str, reading: _Reading) -> str:
    """A word of a shell, shown with the quotes that it had around it."""
    quote = word[0] if word[0] in "'\"" and word[-1] == word[0] and len(word) > 1 else ""
    inner = word[1:-1] if quote else word
    return f"{quote}{reading.shown(inner)}{quote}"


def _basic(found: re.Match[str]) -> str:
    """Basic authentication is base64 of `user:password`; another word after `basic` is none."""
    try:
        is_pair = b":" in base64.b64decode(found[2], validate=True)
    except (binascii.Error, ValueError):
        is_pair = False
    return f"{found[1]}{REDACTED}" if is_pair else found[0]
