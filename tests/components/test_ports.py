"""Ports of this machine, and who holds them."""

from __future__ import annotations

import os
import socket

from components.targets import ports


def test_who_holds_a_port_is_found_while_other_descriptors_are_closed() -> None:
    # The lowest descriptor is free, so that what lists them takes it, and has closed it when they
    # are looked at.
    lowest = os.open(os.devnull, os.O_RDONLY)
    with socket.create_server(("127.0.0.1", 0)) as server:
        os.close(lowest)

        owner = ports.owner_of(server.getsockname()[1])

    assert owner.startswith(f"process {os.getpid()} ")


def test_a_port_is_free_again_when_its_server_has_ended() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not ports.is_free(port)

    assert ports.is_free(port)
