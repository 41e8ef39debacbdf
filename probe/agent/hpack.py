"""Headers of HTTP/2 (RFC 7541), as far as a client of gRPC needs them.

Written are literals without an index, which every peer reads. Read is everything but entries of the
dynamic table: the connection tells its peer that there is none (SETTINGS_HEADER_TABLE_SIZE is 0).
"""

from __future__ import annotations

from collections.abc import Mapping

from probe.agent.errors import AnswerError

# Bits of the Huffman code of each byte (appendix B). The code is canonical: codes of one length
# follow each other in the order of their bytes, so the lengths are all there is to know.
_LENGTHS = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c"
    "060a0a0c0d06080b0a0a080b080606060505050606060606060607080f060c0a"
    "0d06070707070707070707070707070707070707070707070807080d130d0e06"
    "0f05060506050606060507070606060506070605050607070707070f0b0e0d1c"
    "1416141416161617161717171717181718181617181717171715161716171718"
    "1615141616171715171616181516171715151615171617171416161617161617"
    "1a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b"
    "14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a"
)
_EOS = 256
_EOS_BITS = 30
# The static table (appendix A): what is asked for has names; of the rest only the number counts.
_STATIC = 61
_STATUS = {8: "200", 9: "204", 10: "206", 11: "304", 12: "400", 13: "404", 14: "500"}
_CODE_BITS_MAX = 30
_PADDING_BITS_MAX = 7


def _codes() -> Mapping[tuple[int, int], int]:
    """Length and code → byte."""
    found: dict[tuple[int, int], int] = {}
    symbols = [(length, byte) for byte, length in enumerate(_LENGTHS)]
    code = before = 0
    for length, byte in sorted([*symbols, (_EOS_BITS, _EOS)]):
        code <<= length - before
        found[length, code] = byte
        code, before = code + 1, length
    return found


_CODES = _codes()


def encode(headers: list[tuple[str, str]]) -> bytes:
    """A header block."""
    found = bytearray()
    for name, value in headers:
        found.append(0)
        for text in (name, value):
            data = text.encode()
            found += _integer(len(data), 7) + data
    return bytes(found)


def decode(block: bytes) -> dict[str, str]:
    """Headers by their names; those of the static table that nobody asks for have their number.

    Raises:
        AnswerError: it is no header block, or uses a table that there is none of.
    """
    try:
        return dict(_Reader(block).headers())
    except IndexError:
        msg = "expected a header block, saw one that breaks off"
        raise AnswerError(msg) from None


def _integer(value: int, bits: int) -> bytes:
    most = (1 << bits) - 1
    if value < most:
        return bytes([value])
    found = bytearray([most])
    value -= most
    while value >= 0x80:  # noqa: PLR2004 - more than one byte holds
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


class _Reader:
    """Reads one block."""

    def __init__(self, block: bytes) -> None:
        self._block = block
        self._at = 0

    def headers(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        while self._at < len(self._block):
            first = self._block[self._at]
            if first & 0x80:
                index = self._integer(7)
                self._check(index)
                found.append((_name(index), _STATUS.get(index, "")))
            elif first & 0xE0 == 0x20:  # noqa: PLR2004 - a size of the table
                self._integer(5)
            else:
                index = self._integer(6 if first & 0x40 else 4)
                self._check(index, least=0)
                name = _name(index) if index else self._text()
                found.append((name, self._text()))
        return found

    def _check(self, index: int, least: int = 1) -> None:
        if not least <= index <= _STATIC:
            msg = f"expected headers without a table, saw entry {index} of one"
            raise AnswerError(msg)

    def _integer(self, bits: int) -> int:
        most = (1 << bits) - 1
        value = self._block[self._at] & most
        self._at += 1
        if value < most:
            return value
        for shift in range(0, _CODE_BITS_MAX, 7):
            byte = self._block[self._at]
            self._at += 1
            value += (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - no further byte
                return value
        raise IndexError

    def _text(self) -> str:
        is_packed = bool(self._block[self._at] & 0x80)
        length = self._integer(7)
        data = self._block[self._at : self._at + length]
        if len(data) < length:
            raise IndexError
        self._at += length
        return (unpack(data) if is_packed else data).decode("utf-8", "replace")


def _name(index: int) -> str:
    return ":status" if index in _STATUS else f"#{index}"


def unpack(data: bytes) -> bytes:
    """Bytes of a Huffman-coded text.

    Raises:
        AnswerError: it is none.
    """
    found = bytearray()
    code = length = 0
    for byte in data:
        for bit in range(7, -1, -1):
            code = code << 1 | byte >> bit & 1
            length += 1
            symbol = _CODES.get((length, code))
            if symbol is not None:
                if symbol == _EOS:  # Never part of a text; what follows would be read for nothing.
                    msg = "expected a packed text, saw its end in the midst of it"
                    raise AnswerError(msg)
                found.append(symbol)
                code = length = 0
    # The end is filled with ones, and with less than a byte of them.
    if length > _PADDING_BITS_MAX or code != (1 << length) - 1:
        msg = "expected a packed text, saw one that breaks off"
        raise AnswerError(msg)
    return bytes(found)
