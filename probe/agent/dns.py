"""Questions for the name of an address, and their answers: the bytes of DNS (RFC 1035), no sockets.

Only what a reverse lookup needs. Answers come from whoever can send a datagram: all is bounded, and
an answer to another question than ours is none.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from probe.agent.errors import AnswerError

_HEADER = struct.Struct("!6H")
_QUESTION = struct.Struct("!2H")
_RECORD = struct.Struct("!2HIH")
_PTR, _IN = 12, 1
_RECURSION_WANTED = 0x0100
_IS_ANSWER = 0x8000
_CODE = 0x000F
_NO_SUCH_NAME = 3
_NAME_CHARS_MAX = 253
_JUMPS_MAX = 16
_RECORDS_MAX = 64
_POINTER = 0xC0
_LABEL_BYTES_MAX = 63


@dataclass(frozen=True)
class Answer:
    """What is known of a name: None if there is none."""

    name: str | None
    ttl_s: int


def reverse(address: str) -> str:
    """The name under which an address's own name stands."""
    return ipaddress.ip_address(address).reverse_pointer


def question(number: int, name: str) -> bytes:
    """Ask for the PTR record of a name."""
    header = _HEADER.pack(number, _RECURSION_WANTED, 1, 0, 0, 0)
    labels = b"".join(bytes((len(label),)) + label.encode("ascii") for label in name.split("."))
    return header + labels + b"\0" + _QUESTION.pack(_PTR, _IN)


def number(data: bytes) -> int | None:
    """The number of the question that a message answers."""
    return int.from_bytes(data[:2], "big") if len(data) >= _HEADER.size else None


def answer(data: bytes, name: str, *, nothing_ttl_s: int) -> Answer:
    """Read an answer. `nothing_ttl_s` is how long to believe that there is no name.

    Raises:
        AnswerError: it cannot be read, answers something else, or is a failure of the server.
    """
    try:
        return _answer(data, name, nothing_ttl_s)
    except (struct.error, IndexError, UnicodeDecodeError):
        msg = f"expected an answer of a DNS server, saw {data[:16]!r}"
        raise AnswerError(msg) from None


def _answer(data: bytes, name: str, nothing_ttl_s: int) -> Answer:
    _, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
    code = flags & _CODE
    asked, place = _name(data, _HEADER.size)
    if not flags & _IS_ANSWER or questions != 1 or asked.lower() != name.lower():
        msg = f"expected an answer for {name}, saw one for {asked[:80]!r}"
        raise AnswerError(msg)
    if code == _NO_SUCH_NAME:
        return Answer(None, nothing_ttl_s)
    if code:
        msg = f"expected a DNS server to answer, saw its failure {code}"
        raise AnswerError(msg)
    place += _QUESTION.size
    for _ in range(min(answers, _RECORDS_MAX)):
        _, place = _name(data, place)
        type_, class_, ttl_s, size = _RECORD.unpack_from(data, place)
        place += _RECORD.size
        if (type_, class_) == (_PTR, _IN):
            found, _ = _name(data, place)
            return Answer(found or None, ttl_s)
        place += size
    return Answer(None, nothing_ttl_s)


def _name(data: bytes, place: int) -> tuple[str, int]:
    """A name and where it ends. Pointers lead to names before; they may lead in circles."""
    labels: list[str] = []
    end: int | None = None
    jumps = chars = 0
    while size := data[place]:
        if size >= _POINTER:
            jumps += 1
            if jumps > _JUMPS_MAX:
                raise IndexError
            end = place + 2 if end is None else end
            place = int.from_bytes(data[place : place + 2], "big") & 0x3FFF
            continue
        chars += size + 1
        if size > _LABEL_BYTES_MAX or chars > _NAME_CHARS_MAX + 1 or place + size >= len(data):
            raise IndexError
        labels.append(data[place + 1 : place + 1 + size].decode("ascii"))
        place += size + 1
    return ".".join(labels), place + 1 if end is None else end
