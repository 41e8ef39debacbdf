"""Who talks to whom: connections of one client to one server port, taken together."""

from __future__ import annotations

from probe.report.schema import Topology, Type, counter, gauge, integer, ref, symbol, text

TOPOLOGY = Topology(
    name="connection",
    label="Connections",
    identity="host;network namespace;protocol;addresses of client and server;port;both pids",
    columns=(
        ref("host", "host", "Where it was seen."),
        ref("client", "process", "Client, where it runs here."),
        ref("server", "process", "Server, where it runs here."),
        ref("client_container", "container", "Container of the client."),
        ref("server_container", "container", "Container of the server."),
        symbol("protocol", "tcp or udp."),
        text("client_address", "Address of the client."),
        text("server_address", "Address of the server, as the server sees it."),
        integer("server_port", "Port of the server, as the server sees it."),
        text("client_name", "DNS name of the client's address, where it is another machine's."),
        text("server_name", "DNS name of the server's address, where it is another machine's."),
        text("dialled", "address:port that the client asked for, where translation changed it."),
        symbol("evidence", "How it was seen: conntrack, socket or proc."),
        gauge("open", "Connections that are open.", "", Type.INT),
        counter("opened", "Connections seen to be made, short-lived ones too."),
        counter("bytes_to_server", "Bytes that went to the server, where the kernel tells.", "B"),
        counter("bytes_to_client", "Bytes that went to the client, where the kernel tells.", "B"),
    ),
)
