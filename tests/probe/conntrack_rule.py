"""A firewall rule that looks at connection state, without which a namespace tracks no connection.

Written over netlink, because the programs that write such rules are not everywhere. For a network
namespace of one's own: the caller is in it.
"""

from __future__ import annotations

import socket
import struct

_NETFILTER = 12
_TABLES = 10 << 8
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = 0, 3, 6
_BATCH_BEGIN, _BATCH_END = 16, 17
_REQUEST, _ACK, _CREATE, _APPEND = 1, 4, 0x400, 0x800
_INET = 1
_INPUT_HOOK = 1
_ERROR = 2


def add() -> None:
    """Add the rule.

    Raises:
        OSError: the kernel refuses.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as link:
        link.bind((0, 0))
        link.settimeout(2)
        hook = _nest(4, _attribute(1, struct.pack(">I", _INPUT_HOOK)), _attribute(2, bytes(4)))
        state = _nest(2, _attribute(1, struct.pack(">I", 1)), _attribute(2, bytes(4)))
        rule = _nest(4, _nest(1, _attribute(1, b"ct\0"), state))
        make = _REQUEST | _ACK | _CREATE
        link.send(
            _message(_BATCH_BEGIN, _REQUEST, 1, 0, 10)
            + _message(_TABLES | _NEW_TABLE, make, 2, _INET, 0, _attribute(1, b"probe\0"))
            + _message(
                *(_TABLES | _NEW_CHAIN, make, 3, _INET, 0, _attribute(1, b"probe\0")),
                *(_attribute(3, b"seen\0"), hook, _attribute(7, b"filter\0")),
            )
            + _message(
                *(_TABLES | _NEW_RULE, make | _APPEND, 4, _INET, 0, _attribute(1, b"probe\0")),
                *(_attribute(2, b"seen\0"), rule),
            )
            + _message(_BATCH_END, _REQUEST, 5, 0, 10)
        )
        answers = 0
        while answers < 3:
            data = link.recv(65536)
            at = 0
            while at < len(data):
                length, kind = struct.unpack_from("=IH", data, at)
                if kind == _ERROR:
                    answers += 1
                    (code,) = struct.unpack_from("=i", data, at + 16)
                    if code:
                        raise OSError(-code, "the kernel refuses a firewall rule")
                at += (length + 3) & ~3


def _attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def _nest(kind: int, *inside: bytes) -> bytes:
    return _attribute(kind | 0x8000, b"".join(inside))


def _message(kind: int, flags: int, number: int, family: int, extra: int, *inside: bytes) -> bytes:
    body = struct.pack("=BBH", family, 0, socket.htons(extra)) + b"".join(inside)
    return struct.pack("=IHHII", 16 + len(body), kind, flags, number, 0) + body
