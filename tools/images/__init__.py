"""Builds our container images without an engine, a registry or the network.

`components/images/Dockerfile` says what they are; `dockerfile` reads it, `layers` makes layers that
are equal byte by byte wherever they are made, `oci` writes them, `debian` and `wheels` prepare what
is copied in, `sbom` tells what that is, `build` puts it together.
"""
