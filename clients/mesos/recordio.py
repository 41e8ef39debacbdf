r"""RecordIO, the framing of Mesos' event streams: `<length>\n<record>`, over and over.

A decoder without input or output: bytes go in as they arrive, whole records come out. The length is
bounded, so that a stream that is something else (an HTML page, a cut record) is found out at once.
"""

from __future__ import annotations

from clients.mesos.errors import ProtocolError

# The state of 5,000 agents and 100,000 tasks is below 200 MB.
RECORD_BYTES_MAX = 512 * 1024 * 1024
_LENGTH_DIGITS_MAX = 12


class Decoder:
    """Takes a stream apart."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._length: int | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """Add bytes; returns the records that are whole now.

        Raises:
            ProtocolError: what came is no record.
        """
        self._buffer += data
        records: list[bytes] = []
        while (record := self._next()) is not None:
            records.append(record)
        return records

    def _next(self) -> bytes | None:
        if self._length is None:
            line, newline, _ = self._buffer.partition(b"\n")
            if not newline:
                if len(line) > _LENGTH_DIGITS_MAX:
                    self._refuse(bytes(line))
                return None
            if not line.isdigit() or int(line) > RECORD_BYTES_MAX:
                self._refuse(bytes(line))
            self._length = int(line)
            del self._buffer[: len(line) + 1]
        if len(self._buffer) < self._length:
            return None
        record = bytes(self._buffer[: self._length])
        del self._buffer[: self._length]
        self._length = None
        return record

    @property
    def pending_bytes(self) -> int:
        """Bytes of a record that is not whole; above 0 at the end of a stream means it was cut."""
        return len(self._buffer) + (0 if self._length is None else 1)

    def _refuse(self, seen: bytes) -> None:
        msg = (
            f"expected the length of a RecordIO record, saw {seen[:60]!r}: is this a Mesos stream?"
        )
        raise ProtocolError(msg)
