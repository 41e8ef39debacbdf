"""Keeps HAProxy's configuration what running apps of Marathon ask for by their labels.

`services` reads labels, `render` writes the configuration, both pure; `haproxy` runs the proxy and
reloads it without losing a request; `driver` follows Marathon. docs/edge.md lists the labels.
"""
