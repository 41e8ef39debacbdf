"""A JSON document of any size, taken apart while it arrives.

The state of 5,000 agents and 100,000 tasks is some 200 MB of text, and five times that as one tree
of dictionaries. Here lists at known places are handed out element by element, so that no more than
one element and one piece of the text are held. The parser of the standard library finds where
values end. Where a list has a decoder of its own, that place is guessed first from the last
element's length: the decoder takes a whole value and nothing else, so a wrong guess is refused.

Sans input and output: bytes go in, `(path, value)` come out.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Generator, Mapping
from typing import Any, NoReturn, cast

import msgspec

from clients.mesos.errors import ProtocolError

Path = tuple[str, ...]
Found = tuple[Path, Any]
Decode = Callable[[str], Any]

# One agent with thousands of ports and attributes is far smaller; what is larger is no element.
ELEMENT_CHARS_MAX = 16 * 1024 * 1024
_BLANK = " \t\r\n"
_ENDS = frozenset(",]}" + _BLANK)
_SHOWN_CHARS = 60
# Between two elements that are objects. Within one it stands between those of its lists, so what
# is decoded after few wrong guesses costs less than looking for the end.
_BETWEEN = "},{"
_GUESSES_MAX = 2
_MISSED = object()


class Elements:
    """Hands out the elements of `lists` (paths of keys), and other values on the way there whole.

    Each list may have a decoder, which makes its elements of their text: it raises msgspec's
    ValidationError for another shape, DecodeError for anything but one whole value.

    Raises (all methods):
        ProtocolError: the text is not JSON, an element is too large, or the document was cut.
    """

    def __init__(self, lists: Mapping[Path, Decode | None]) -> None:
        self._lists = dict(lists)
        self._objects = frozenset(path[:n] for path in self._lists for n in range(len(path)))
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._scan = json.JSONDecoder().raw_decode
        self._text = ""
        self._at = 0
        # Where the last value begins that was taken; valid until more text comes.
        self._begin = 0
        self._closed = False
        self._done = False
        self._walk = self._value_at(())

    def feed(self, data: bytes) -> list[Found]:
        """Add bytes; returns what is whole now."""
        try:
            self._text = self._text[self._at :] + self._decode(data)
        except UnicodeDecodeError:
            self._refuse("text", repr(data[:_SHOWN_CHARS]))
        self._at = 0
        return self._take()

    def close(self) -> list[Found]:
        """Say that no more comes; returns the last values."""
        self._closed = True
        found = self._take()
        if not self._done:
            self._refuse("a whole document", "one that was cut")
        return found

    def _take(self) -> list[Found]:
        found: list[Found] = []
        if self._done:
            return found
        for item in self._walk:
            if item is None:
                return found
            found.append(item)
        self._done = True
        return found

    # Generators yield None where they need more text.

    def _value_at(self, path: Path) -> Generator[Found | None, None, None]:
        first = yield from self._peek()
        if first == "{" and path in self._objects:
            yield from self._object(path)
        elif first == "[" and path in self._lists:
            yield from self._list(path)
        elif not path:
            self._refuse("a JSON object", self._text[self._at :][:_SHOWN_CHARS])
        else:
            value = yield from self._value()
            yield path, value

    def _object(self, path: Path) -> Generator[Found | None, None, None]:
        self._at += 1
        if (yield from self._peek()) == "}":
            self._at += 1
            return
        while True:
            key = yield from self._value()
            yield from self._expect(":")
            yield from self._value_at((*path, str(key)))
            if (yield from self._expect(",}")) == "}":
                return
            yield from self._peek()

    def _list(self, path: Path) -> Generator[Found | None, None, None]:
        self._at += 1
        if (yield from self._peek()) == "]":
            self._at += 1
            return
        decode = self._lists[path]
        length = 0
        while True:
            if decode is None:
                value = yield from self._value()
            elif (value := self._guess(decode, length)) is _MISSED:
                value = yield from self._decoded(path, decode)
            length = self._at - self._begin
            yield path, value
            if self._text[self._at : self._at + 2] == ",{":
                self._at += 1
                continue
            if (yield from self._expect(",]")) == "]":
                return
            yield from self._peek()

    def _guess(self, decode: Decode, length: int) -> Any:
        """The next element, if it ends about as far from here as the last one did."""
        end = self._at + length * 7 // 8
        for _ in range(_GUESSES_MAX if length else 0):
            end = self._text.find(_BETWEEN, end) + 1
            if not end:
                break
            try:
                value = decode(self._text[self._at : end])
            except msgspec.ValidationError:
                break  # Looked at again with the whole of it.
            except msgspec.DecodeError:
                continue
            self._begin, self._at = self._at, end
            return value
        return _MISSED

    def _decoded(self, path: Path, decode: Decode) -> Generator[None, None, Any]:
        yield from self._value()
        text = self._text[self._begin : self._at]
        try:
            return decode(text)
        except msgspec.DecodeError as error:
            expected = f"elements of {'.'.join(path)} in their known form"
            self._refuse(expected, f"{error} in {text[:_SHOWN_CHARS]}")

    def _peek(self) -> Generator[None, None, str]:
        while True:
            text, size = self._text, len(self._text)
            while self._at < size and text[self._at] in _BLANK:
                self._at += 1
            if self._at < size:
                return text[self._at]
            if self._closed:
                self._refuse("a whole document", "one that was cut")
            yield None

    def _expect(self, choice: str) -> Generator[None, None, str]:
        found = yield from self._peek()
        if found not in choice:
            self._refuse(f"one of {choice!r}", self._text[self._at :][:_SHOWN_CHARS])
        self._at += 1
        return found

    def _value(self) -> Generator[None, None, Any]:
        # A value that was cut is tried again only when twice as much is there: each character is
        # read a bounded number of times, however small the pieces are.
        enough = 0
        while True:
            size = len(self._text) - self._at
            if size >= enough or self._closed:
                try:
                    value, end = self._scan(self._text, self._at)
                except ValueError:
                    enough = 2 * size
                else:
                    # The end of a number shows only in what follows it: `0.` may become 0.5.
                    if isinstance(value, (dict, list, str)) or self._text[end : end + 1] in _ENDS:
                        self._begin, self._at = self._at, end
                        return cast("Any", value)
            if self._closed or size > ELEMENT_CHARS_MAX:
                self._refuse("JSON", self._text[self._at :][:_SHOWN_CHARS])
            yield None

    def _refuse(self, expected: str, seen: str) -> NoReturn:
        msg = f"expected {expected} of a Mesos master, saw {seen}: is this one?"
        raise ProtocolError(msg) from None
