"""Messages of protocol buffers, as far as a probe reads and writes them: fields by their numbers.

The library of protocol buffers would cost 3 MB of resident memory without its generated modules,
for a dozen fields of a dozen messages. A field that is not known is skipped, as the format has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from probe.agent.errors import AnswerError

Message: TypeAlias = dict[int, list[int | bytes]]
_VARINT, _BYTES = 0, 2
_VARINT_BITS_MAX = 63


def read(data: bytes) -> Message:
    """All fields of a message, each with its values in their order.

    Raises:
        AnswerError: it is none.
    """
    found: Message = {}
    for number, value in _fields(data):
        found.setdefault(number, []).append(value)
    return found


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        match key & 7:
            case 0:
                value, at = _varint(data, at)
                yield key >> 3, value
                continue
            case 1:
                length = 8
            case 2:
                length, at = _varint(data, at)
            case 5:
                length = 4
            case kind:
                msg = f"expected a field of a message, saw one of kind {kind}"
                raise AnswerError(msg)
        if at + length > len(data):
            msg = f"expected a field of {length} bytes, saw the end of its message"
            raise AnswerError(msg)
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift <= _VARINT_BITS_MAX:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:  # noqa: PLR2004 - no further byte
            return value & ((1 << 64) - 1), at
        shift += 7
    msg = "expected a number of at most ten bytes, saw none that ends"
    raise AnswerError(msg)


def text(message: Message, number: int) -> str:
    """A text; empty where there is none, as the format has it."""
    value = message.get(number, [b""])[-1]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def integer(message: Message, number: int) -> int:
    """A signed whole number; 0 where there is none."""
    value = message.get(number, [0])[-1]
    if not isinstance(value, int):
        return 0
    return value - (1 << 64) if value >> 63 else value


def texts(message: Message, number: int) -> list[str]:
    """All texts of a field."""
    return [
        value.decode("utf-8", "replace")
        for value in message.get(number, ())
        if isinstance(value, bytes)
    ]


def raw(message: Message, number: int) -> bytes:
    """Bytes; none where there are none."""
    value = message.get(number, [b""])[-1]
    return value if isinstance(value, bytes) else b""


def messages(message: Message, number: int) -> list[Message]:
    """All messages of a field."""
    return [read(value) for value in message.get(number, ()) if isinstance(value, bytes)]


def inner(message: Message, number: int) -> Message:
    """A message; an empty one where there is none."""
    found = messages(message, number)
    return found[-1] if found else {}


def pairs(message: Message, number: int) -> dict[str, str]:
    """A map of texts."""
    return {text(entry, 1): text(entry, 2) for entry in messages(message, number)}


def write_text(number: int, value: str) -> bytes:
    """A field with a text."""
    data = value.encode()
    return _written(number << 3 | _BYTES) + _written(len(data)) + data


def write_integer(number: int, value: int) -> bytes:
    """A field with a whole number that is not negative, or a truth value."""
    return _written(number << 3 | _VARINT) + _written(value)


def _written(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:  # noqa: PLR2004 - more than one byte holds
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
