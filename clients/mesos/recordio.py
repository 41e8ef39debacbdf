r"""RecordIO, the framing of Mesos' event streams: `<length>\n<record>`, over and over.

Decoders without input or output: bytes go in as they arrive. `Decoder` gives whole records,
`Pieces` what there is of them, because the first record of a large cluster's stream is its whole
state. The length is bounded, so that a stream that is something else (an HTML page, a cut record)
is found out at once.
"""

from __future__ import annotations

from clients.mesos.errors import ProtocolError

# The state of 5,000 agents and 100,000 tasks is below 200 MB.
RECORD_BYTES_MAX = 512 * 1024 * 1024
_LENGTH_DIGITS_MAX = 12


class Pieces:
    """Takes a stream apart without holding records."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._left: int | None = None

    def feed(self, data: bytes) -> list[tuple[bytes, bool]]:
        """Add bytes; returns pieces of records, each with whether it is its record's last.

        Raises:
            ProtocolError: what came is no record.
        """
        pieces: list[tuple[bytes, bool]] = []
        at = 0
        while at < len(data) or self._left == 0:
            if self._left is None:
                at = self._length(data, at)
                continue
            piece = data[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            is_last = self._left == 0
            pieces.append((piece, is_last))
            if is_last:
                self._left = None
        return pieces

    def _length(self, data: bytes, at: int) -> int:
        room = _LENGTH_DIGITS_MAX + 1 - len(self._line)
        end = data.find(b"\n", at, at + room)
        self._line += data[at : at + room if end < 0 else end]
        if end < 0:
            if len(self._line) > _LENGTH_DIGITS_MAX:
                self._refuse()
            return len(data)
        if not self._line.isdigit() or int(self._line) > RECORD_BYTES_MAX:
            self._refuse()
        self._left = int(self._line)
        self._line.clear()
        return end + 1

    @property
    def is_between_records(self) -> bool:
        """Whether nothing is missing; false at the end of a stream means that it was cut."""
        return self._left is None and not self._line

    def _refuse(self) -> None:
        seen = bytes(self._line[:60])
        msg = f"expected the length of a RecordIO record, saw {seen!r}: is this a Mesos stream?"
        raise ProtocolError(msg)


class Decoder:
    """Takes a stream apart, record by record."""

    def __init__(self) -> None:
        self._pieces = Pieces()
        self._record = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Add bytes; returns the records that are whole now.

        Raises:
            ProtocolError: what came is no record.
        """
        records: list[bytes] = []
        for piece, is_last in self._pieces.feed(data):
            self._record += piece
            if is_last:
                records.append(bytes(self._record))
                self._record.clear()
        return records

    @property
    def pending_bytes(self) -> int:
        """Bytes of a record that is not whole; above 0 at the end of a stream means it was cut."""
        return 0 if self._pieces.is_between_records else len(self._record) + 1
