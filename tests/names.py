"""A name server in place of Mesos-DNS or Consul: it knows the names that a test gives it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from tests.ports import free_port


@contextmanager
def name_server(addresses: Mapping[str, str]) -> Generator[int]:
    """A server that knows these names, on loopback; its port."""
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", port))
        server.settimeout(0.1)
        stopping = threading.Event()

        def serve() -> None:
            while not stopping.is_set():
                try:
                    question, peer = server.recvfrom(4096)
                except TimeoutError:
                    continue
                server.sendto(_answer(question, addresses), peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield port
        finally:
            stopping.set()
            thread.join()


def _answer(question: bytes, addresses: Mapping[str, str]) -> bytes:
    end = question.index(b"\0", 12)
    labels, place = list[str](), 12
    while question[place]:
        size = question[place]
        labels.append(question[place + 1 : place + 1 + size].decode().lower())
        place += 1 + size
    asked = question[12 : end + 5]
    kind = int.from_bytes(question[end + 1 : end + 3], "big")
    address = addresses.get(".".join(labels))
    found = address is not None and kind == 1
    head = question[:2] + (b"\x85\x83" if address is None else b"\x85\x80")
    head += b"\0\1" + (b"\0\1" if found else b"\0\0") + b"\0\0\0\0"
    if address is None or not found:
        return head + asked
    return head + asked + b"\xc0\x0c\0\1\0\1\0\0\0\x05\0\x04" + socket.inet_aton(address)
