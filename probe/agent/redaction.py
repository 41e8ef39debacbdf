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
from collections.abc import Callable, Mapping, Sequence

from probe.agent import secret_options
from probe.agent.secret_options import Program
from probe.agent.secret_shapes import GLUED_PASSWORDS, REDACTED, ROOTS, SHAPES, SURE_ROOTS
from probe.agent.text import CUT, LIST_ITEMS_MAX, TEXT_CHARS_MAX, clean, clean_all

__all__ = [
    "READ_CHARS_MAX",
    "REDACTED",
    "THING_CHARS_MAX",
    "Redactor",
    "command_line",
    "is_secret_name",
    "redact",
    "redact_pair",
    "shell_line",
    "shown_pairs",
]

READ_CHARS_MAX = 8192
"""So much of a text is read: more than is ever shown of one, for it is cut once secrets are out."""
THING_CHARS_MAX = 16 * 1024
"""So much is read of all labels of one thing, or of all that a plugin tells of it."""
# What is told by its end (`user:password@`) is no secret any more where a text was cut before that
# end. No shape has its end further away, but for those that are told by their begin.
_REACH_CHARS = 2048
_LINE_CHARS_MAX = TEXT_CHARS_MAX
_NAME_CHARS_MAX = 128
# The shortest of all shapes without other characters has two more.
_PLAIN_CHARS_MAX = 12
_PLAIN = re.compile(r"[\w./-]*")
# Lines inside of lines, `ssh h "sh -c 'x'"`: more than three deep are read as texts.
_DEPTH_MAX = 3
_PASSWORDS = r"pass(?:word|wd|phrase|code)?|pwd|pw|psk|tokens?|secrets?"
_NAMES_OF_THEM = (
    rf"(?:{_PASSWORDS}|{GLUED_PASSWORDS}|secret[-_.]?key[-_.]?base"
    r"|(?:api|app|application|access|private|secret|enc(?:rypt(?:ion)?)?|master|account|auth|unseal"
    r"|licen[sc]e|hmac|sign(?:ing)?|(?:pre-?)?shared|session|subscription|gossip|instrumentation"
    r"|ingest|integration|registration|service|cipher|cookie|jwt|aes|webhook)[-_.]?keys?"
    r"|auth|authorization|credentials?|creds?|bearer|cookie|session[-_.]?id|signature|sas|dsn|salt"
    r"|otp|pin|jwt|require-?pass|master-?auth|(?:store|key)-?pass|super[-_.]?digest"
    r"|(?:basic|digest)[-_.]?auth(?:[-_.]?users?)?)"
)
# No other word ends in these, so they take no boundary.
_GLUED = r"(?:password|passwd|passphrase|secret|apikey|accesskey|secretkey|authkey|authtoken)"
_WORD_END = r"(?:[-_.](?:value|text|plain|base64|b64|0|1))?"
# A name ends in such a word, at a boundary: `compass` and `bypass` do not, `dbPassword` does. What
# stands before the boundary is not matched: parts that may be split in two ways take for ever.
_NAME = re.compile(rf"(?:(?:^|[-_.\s/:]){_NAMES_OF_THEM}|{_GLUED}){_WORD_END}$", re.IGNORECASE)
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
    r"|^-*ssh-auth-sock$|_AUTH_SOCK$|auth-user-pass$|^-*(?:without|skip|disable|enable|allow)[-_]"
    r"|(?:^|[-_])(?:max|min|num)[-_](?:[^\W_]+[-_])*tokens?$",
    re.IGNORECASE,
)
# Where a secret is, in place of one; a password may look like one, but not like those in `/run`.
_PLACE = re.compile(rf"{ROOTS}[\w./@-]+|file:///\S+")
_SURE_PLACE = re.compile(rf"{SURE_ROOTS}[\w./@-]+|file:///\S+")
_PASSWORD = re.compile(rf"(?:{_PASSWORDS}|{GLUED_PASSWORDS}){_WORD_END}$", re.IGNORECASE)
_USER_OPTIONS = frozenset(("-u", "-a", "--user", "--auth", "--userpwd", "--proxy-user"))
# What `user:group` may stand behind.
_GROUP_OPTIONS = frozenset(("-u", "--user"))
# `-sSu user:password`, joined or not.
_CURL_USER = re.compile(r"(-[A-Za-z0-9#]{0,64}?[uU])[^\s:]{0,64}:\S+")
_CURL_OPTIONS = re.compile(r"-[A-Za-z0-9#]{0,64}[uU]")
_OPTION = re.compile(r"-{1,2}[A-Za-z][\w-]*")
# With a value of its own. No password looks like this.
_SURE_OPTION = re.compile(r"-{1,2}[a-z][a-z-]+=.*", re.DOTALL)
_USER = re.compile(r"(?!\d+:\d+$|sha\d+:|md5:)([\w.@+-]{1,64}):(?!//)\S+")
# `user/password@database`, not a path.
_ACCOUNT = re.compile(r"(?![-/@.])[^\s/@]{1,128}/[^\s/]\S*")
_SHELLS = frozenset(("sh", "bash", "dash", "ash", "zsh", "ksh", "busybox"))
_SHELL_OPTION = re.compile(r"-[a-z]{0,3}c")
# Words of a shell, quoted parts and blanks kept as they are.
_WORD = re.compile(r"""(?:[^\s'";|&()]|'[^']{0,4096}'?|"[^"]{0,4096}"?)+|[\s;|&()]+""")
# What stands between words, and what of it ends a command.
_BETWEEN = " \t\r\n\f\v;|&()"
_ENDS = re.compile(r"[;|&()\n]")
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


class Redactor:
    """Judges the texts of one thing, all of them together up to a bound: whoever names a thing may
    give it hundreds of labels, of which each takes a tenth of a second.

    A text for which nothing is left is not shown. `left` counts down.
    """

    def __init__(self, chars_max: int = THING_CHARS_MAX) -> None:
        self.left = chars_max

    def text(self, text: str, chars_max: int) -> str:
        """A text without secrets that show by their shape, as it is sent."""
        return self._shown(text, _without_shapes, chars_max)

    def pair(self, name: str, value: str, chars_max: int) -> str:
        """The value of a label or variable, as it is sent."""
        if _is_secret(name, value):
            return REDACTED
        return self._shown(value, _of_value(value), chars_max)

    def _shown(self, text: str, judged: Callable[[str], str], chars_max: int) -> str:
        # Behind what is shown so much is read as half a secret may be long.
        reads = min(self.left, chars_max + _REACH_CHARS)
        if len(text) > reads and reads <= _REACH_CHARS:
            return CUT
        self.left -= min(len(text), reads)
        return clean(_bounded(text, judged, reads), chars_max)


def redact(text: str) -> str:
    """A text without secrets that show by their shape."""
    return _bounded(text, _without_shapes)


def redact_pair(name: str, value: str) -> str:
    """The value of a label or variable, without what is secret in it."""
    return REDACTED if _is_secret(name, value) else _bounded(value, _of_value(value))


def shown_pairs(pairs: Mapping[str, str], *, redacts: bool, chars_max: int) -> list[str]:
    """Labels as they are sent, `name=value`, cut where there are too many or too long ones."""
    first = sorted(pairs.items())[:LIST_ITEMS_MAX]
    redactor = Redactor()
    # Few long ones leave nothing for the others, so they come last.
    shown = {
        name: redactor.pair(name, value, chars_max) if redacts else clean(value, chars_max)
        for name, value in sorted(first, key=lambda pair: len(pair[1]))
    }
    pairs_shown = [f"{clean(name)}={value}" for name, value in shown.items()]
    return clean_all(pairs_shown, 2 * TEXT_CHARS_MAX)


def command_line(arguments: Sequence[str]) -> str:
    """A command line as it is sent: without secrets, cut where it is too long."""
    line: list[str] = []
    size, left = 0, READ_CHARS_MAX
    reading = _Reading(arguments)
    for argument in arguments:
        line.append(_bounded(argument, reading.shown, left))
        left -= len(argument) + 1
        size += len(line[-1]) + 1
        if left < 0 or size > _LINE_CHARS_MAX:
            break
    return " ".join(line)[:_LINE_CHARS_MAX]


def shell_line(text: str, depth: int = 0) -> str:
    """A line for a shell, without secrets. Each of its commands is a command line."""
    words: list[str] = _WORD.findall(text)
    shown: list[str] = []
    reading: _Reading | None = None
    for number, word in enumerate(words):
        is_between = not word.strip(_BETWEEN)
        # A backslash takes the end of a line for itself, and is no argument there.
        is_taken = number > 0 and words[number - 1][-1] == "\\"
        if reading is None or (is_between and _ENDS.search(word, int(is_taken))):
            reading = _Reading(_first_words(words, number), depth + 1)
        shown.append(word if is_between or word == "\\" else _unquoted(word, reading))
    return _without_shapes("".join(shown))


def _bounded(text: str, judged: Callable[[str], str], chars_max: int = READ_CHARS_MAX) -> str:
    """A text as it is judged; of a long one its begin, without what may be half a secret there."""
    if len(text) <= chars_max:
        return judged(text)
    return judged(text[:chars_max])[:-_REACH_CHARS] + CUT


def _without_shapes(text: str) -> str:
    # Half of all arguments: for these no shape has to be tried.
    if len(text) <= _PLAIN_CHARS_MAX and _PLAIN.fullmatch(text):
        return text
    for pattern, replacement in SHAPES:
        text = pattern.sub(replacement, text)
    return _BASIC.sub(_basic, text)


def _of_value(value: str) -> Callable[[str], str]:
    """How a value is judged: a command may be told by labels too."""
    return shell_line if _has_blanks(value) else _without_shapes


def _has_blanks(text: str) -> bool:
    return " " in text or "\n" in text or "\t" in text


class _Reading:
    """Goes through the arguments of one command."""

    def __init__(self, arguments: Sequence[str], depth: int = 0) -> None:
        self._program: Program = secret_options.NONE
        self._keeps_users = secret_options.takes_user_and_group(arguments)
        self._is_shell = any(one.rpartition("/")[2] in _SHELLS for one in arguments[:3])
        self._depth = depth
        self._before = ""
        self._hides_next: re.Pattern[str] | None = None
        # Arguments up to the first that a word before has announced as a secret, and to the last.
        self._first = self._last = 0

    def shown(self, argument: str) -> str:
        """The next argument, as it is shown."""
        before, self._before = self._before, argument
        place, self._hides_next = self._hides_next, None
        if self._last and self._is_announced(argument):
            return REDACTED
        # A dash and one letter is an option.
        if place is not None and (argument[:1] != "-" or argument[2:]):
            return argument if place.fullmatch(argument) else REDACTED
        self._program = secret_options.program(before, argument, self._program)
        shown = self._judged(argument, before)
        if shown is not None:
            return shown
        # What has blanks in it may be a line for a shell: that of this machine, or of another.
        is_line = _has_blanks(argument) or (self._is_shell and _SHELL_OPTION.fullmatch(before))
        if is_line and self._depth < _DEPTH_MAX and not _is_one_word(argument):
            return shell_line(argument, self._depth)
        return _without_shapes(argument)

    def _is_announced(self, argument: str) -> bool:
        """Whether this is, or may be, the secret that some word before announced.

        Options are not counted. Each may take the next argument or not, so with each it may be one
        argument more that is the secret.
        """
        is_next = self._first <= 1
        is_none = argument == "--" or argument in secret_options.FLAGS
        if is_none or _SURE_OPTION.fullmatch(argument):
            return False
        if _OPTION.fullmatch(argument):
            self._last += 1
            return is_next
        self._first -= 1
        self._last -= 1
        return is_next

    def _announce(self, distance: int) -> None:
        self._first = min(self._first, distance) if self._last else distance
        self._last = max(self._last, distance)

    def _judged(self, argument: str, before: str) -> str | None:
        """How an argument is shown that is judged by its place; None: by what it holds."""
        program = self._program
        for word, distance in program.words:
            if word.fullmatch(argument):
                self._announce(distance)
        if program.account and _ACCOUNT.fullmatch(argument):
            return f"{argument.partition('/')[0]}/{REDACTED}"
        for option in program.joined:
            if argument.startswith(option) and len(argument) > len(option) and argument[1] != "-":
                return option + REDACTED
        name, sign, value = argument.partition("=")
        if sign and " " not in name and (_is_secret(name, value) or name in program.after):
            return f"{name}={REDACTED}"
        if argument in program.after:
            self._hides_next = _SURE_PLACE
            return argument
        if argument.startswith("-") and not sign and is_secret_name(argument):
            self._hides_next = _places(argument)
            return argument
        return self._cluster(argument) or self._user(argument, before, name, value)

    def _cluster(self, argument: str) -> str | None:
        """An argument of several options, the last of which takes a secret."""
        for option, place in self._program.clusters:
            found = option.fullmatch(argument)
            if found is None:
                continue
            if found[2]:
                return argument if place.fullmatch(found[2]) else f"{found[1]}{REDACTED}"
            self._hides_next = place
            return argument
        return None

    def _user(self, argument: str, before: str, name: str, value: str) -> str | None:
        """An argument that tells a user with a password."""
        if value and self._tells_user(name):
            user = _USER.fullmatch(value)
            return None if user is None else f"{name}={user[1]}:{REDACTED}"
        if "-u" in self._program.joined:
            found = _CURL_USER.fullmatch(argument)
            if found is not None:
                return f"{found[1]}{REDACTED}"
            if _CURL_OPTIONS.fullmatch(argument):
                self._hides_next = _SURE_PLACE
                return argument
        # ZooKeeper's `addauth digest user:password`.
        if self._tells_user(before) or before == "digest":
            user = _USER.fullmatch(argument)
            if user is not None:
                return f"{user[1]}:{REDACTED}"
        return None

    def _tells_user(self, option: str) -> bool:
        return option in _USER_OPTIONS and not (self._keeps_users and option in _GROUP_OPTIONS)


def _is_secret(name: str, value: str) -> bool:
    return bool(value) and is_secret_name(name) and not _places(name).fullmatch(value)


def _places(name: str) -> re.Pattern[str]:
    """What tells where the secret is that is called so."""
    return _SURE_PLACE if _PASSWORD.search(name[-_NAME_CHARS_MAX:]) else _PLACE


def _first_words(words: Sequence[str], begin: int) -> list[str]:
    """The first words of the command that begins there, so many as a command is told by."""
    found: list[str] = []
    for number in range(begin, len(words)):
        word = words[number]
        if word.strip(_BETWEEN):
            found.append(word.strip("'\""))
        elif found and _ENDS.search(word):
            break
        if len(found) == secret_options.LOOKED_AT:
            break
    return found


def _is_one_word(text: str) -> bool:
    """Whether a shell would read it as what it is: one that has been judged already."""
    if text[:1] in {"'", '"'}:
        return False
    found = _WORD.match(text)
    return found is not None and found.end() == len(text)


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
