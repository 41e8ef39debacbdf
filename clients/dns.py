"""Addresses of names: of one name server that is asked, or of whatever this machine asks.

`resolve` puts one question over UDP (RFC 1035) to a server that is named; a truncated answer is an
error, because a name with so many addresses is not asked for here. `look_up` is the system's.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct

from clients.errors import DnsError

_HEADER = struct.Struct(">HHHHHH")
_RECORD = struct.Struct(">HHIH")
_A, _IN = 1, 1
_RECURSION_DESIRED = 0x0100
_RESPONSE, _TRUNCATED = 0x8000, 0x0200
_CODE, _NO_SUCH_NAME = 0x000F, 3
_POINTER = 0xC0
_ANSWER_BYTES_MAX = 4096
_LABEL_MAX = 63


def resolve(name: str, server: str, *, timeout_s: float) -> tuple[str, ...]:
    """IPv4 addresses of a name, sorted; none when there is no such name. `server` is host:port.

    Raises:
        DnsError: nobody answered in time, the server refused, or what came is no answer.
        ValueError: no name can be so.
    """
    host, _, port = server.rpartition(":")
    number = secrets.randbelow(0x10000)
    question = _HEADER.pack(number, _RECURSION_DESIRED, 1, 0, 0, 0) + _encoded(name)
    question += struct.pack(">HH", _A, _IN)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(timeout_s)
            # Answers of anybody else are not taken.
            asking.connect((host, int(port)))
            asking.send(question)
            answer = asking.recv(_ANSWER_BYTES_MAX)
    except OSError as error:
        msg = f"expected an answer of {server} to {name}, saw {error}: does it run?"
        raise DnsError(msg) from None
    try:
        return _read(answer, number, name, server)
    except (IndexError, struct.error):
        msg = f"expected an answer of {server} to {name}, saw {answer[:40]!r}"
        raise DnsError(msg) from None


async def look_up(host: str) -> tuple[str, ...]:
    """IPv4 addresses of a host by this machine's own resolver, sorted; of an address, itself.

    Raises:
        DnsError: it has none here.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, None, family=socket.AF_INET)
    except OSError as error:
        msg = f"expected an address of {host}, saw {error}: run this where the cluster's names are"
        raise DnsError(msg) from None
    return tuple(sorted({str(one[4][0]) for one in found}))


def _encoded(name: str) -> bytes:
    labels = name.rstrip(".").encode("ascii").split(b".")
    if any(not 0 < len(label) <= _LABEL_MAX for label in labels):
        msg = f"expected a name of labels of 1 to {_LABEL_MAX} characters, saw {name!r}"
        raise ValueError(msg)
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _read(answer: bytes, number: int, name: str, server: str) -> tuple[str, ...]:
    found, flags, questions, records, _, _ = _HEADER.unpack_from(answer)
    if found != number or not flags & _RESPONSE:
        msg = f"expected an answer of {server} to {name}, saw one to something else"
        raise DnsError(msg)
    code = flags & _CODE
    if code == _NO_SUCH_NAME:
        return ()
    if code or flags & _TRUNCATED:
        seen = f"code {code}" if code else "a truncated one"
        msg = f"expected an answer of {server} to {name}, saw {seen}"
        raise DnsError(msg)
    place = _HEADER.size
    for _ in range(questions):
        place = _after_name(answer, place) + 4
    addresses: list[str] = []
    for _ in range(records):
        place = _after_name(answer, place)
        kind, _, _, size = _RECORD.unpack_from(answer, place)
        place += _RECORD.size
        if kind == _A:
            addresses.append(socket.inet_ntoa(answer[place : place + size]))
        place += size
    return tuple(sorted(addresses))


def _after_name(answer: bytes, place: int) -> int:
    while (size := answer[place]) != 0:
        if size & _POINTER == _POINTER:
            return place + 2
        place += 1 + size
    return place + 1
