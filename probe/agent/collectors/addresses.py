"""Addresses of interfaces and networks of the host, from /proc alone."""

from __future__ import annotations

import ipaddress
import struct

from probe.agent.files import read_or_empty

_TABLE_BYTES_MAX = 256 * 1024


def interface_addresses(proc: str) -> list[str]:
    """`name address/prefix`, of IPv4 by the routing trie, of IPv6 by its own table."""
    return [*_v4(proc), *_v6(proc)]


def networks(proc: str) -> list[str]:
    """Networks that the host is part of: those that a route without gateway leads to."""
    found: set[str] = set()
    for line in _lines(f"{proc}/1/net/route", f"{proc}/net/route")[1:]:
        words = line.split()
        if len(words) > 7 and words[2] == "00000000" and words[1] != "00000000":  # noqa: PLR2004 - columns of the table
            network = _v4_text(words[1])
            prefix = int(words[7], 16).bit_count()
            found.add(f"{network}/{prefix}")
    for text in _v6(proc):
        interface = ipaddress.ip_interface(text.partition(" ")[2])
        found.add(str(interface.network))
    return sorted(found)


def _v4(proc: str) -> list[str]:
    """Own addresses stand in the trie as `/32 host LOCAL`; the device comes from the routes."""
    lines = _lines(f"{proc}/1/net/fib_trie", f"{proc}/net/fib_trie")
    own: set[str] = set()
    address = ""
    for line in lines:
        word = line.strip()
        if word.startswith("|-- "):
            address = word[4:]
        elif word == "/32 host LOCAL":
            own.add(address)
    routes: list[tuple[ipaddress.IPv4Network, str]] = []
    for line in _lines(f"{proc}/1/net/route", f"{proc}/net/route")[1:]:
        words = line.split()
        if len(words) > 7 and words[1] != "00000000":  # noqa: PLR2004 - columns of the table
            network = f"{_v4_text(words[1])}/{int(words[7], 16).bit_count()}"
            routes.append((ipaddress.IPv4Network(network, strict=False), words[0]))
    return [_named(text, routes) for text in sorted(own)]


def _named(text: str, routes: list[tuple[ipaddress.IPv4Network, str]]) -> str:
    address = ipaddress.IPv4Address(text)
    if address.is_loopback:
        return f"lo {text}/8"
    for network, device in routes:
        if address in network:
            return f"{device} {text}/{network.prefixlen}"
    return f"- {text}/32"


def _v6(proc: str) -> list[str]:
    found: list[str] = []
    for line in _lines(f"{proc}/1/net/if_inet6", f"{proc}/net/if_inet6"):
        words = line.split()
        if len(words) == 6:  # noqa: PLR2004 - columns of the table
            address = ipaddress.IPv6Address(int(words[0], 16))
            found.append(f"{words[5]} {address}/{int(words[2], 16)}")
    return found


def _v4_text(word: str) -> str:
    return str(ipaddress.IPv4Address(struct.pack("=I", int(word, 16))))


def _lines(*paths: str) -> list[str]:
    """Of the first file that can be read: that of the host's first process, or our own."""
    for path in paths:
        text = read_or_empty(path, _TABLE_BYTES_MAX)
        if text:
            return text.decode("ascii", "replace").splitlines()
    return []
