"""Writes images as one OCI archive, which `ctr images import` and others read.

Layers are not compressed: they never leave the machine, and a compressor's version would be in
their digest. The format: image-spec 1.1 of the Open Container Initiative.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.images.dockerfile import Stage

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
# What containerd calls an image that it imports.
_NAME = "io.containerd.image.name"


class Archive:
    """An archive that is being written."""

    def __init__(self, path: Path, architecture: str) -> None:
        self._architecture = architecture
        self._tar = tarfile.open(path, "w", format=tarfile.GNU_FORMAT)  # noqa: SIM115 - ended by `close`
        self._written: set[str] = set()
        self._manifests: list[dict[str, Any]] = []

    def add(self, name: str, stage: Stage, layers: Sequence[tuple[str, Path]]) -> str:
        """Add an image of layers that are named by their digests; returns the name that pins it."""
        config = self._json(_CONFIG, _config(stage, [d for d, _ in layers], self._architecture))
        manifest = self._json(
            _MANIFEST,
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": config,
                "layers": [self._file(digest, path) for digest, path in layers],
            },
        )
        pinned = f"{name}@{manifest['digest']}"
        self._manifests.append({**manifest, "annotations": {_NAME: pinned}})
        return pinned

    def close(self) -> None:
        """Write what names them all."""
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": self._manifests}
        self._bytes("index.json", _encoded(index))
        self._bytes("oci-layout", _encoded({"imageLayoutVersion": "1.0.0"}))
        self._tar.close()

    def _json(self, media: str, document: Mapping[str, Any]) -> dict[str, Any]:
        content = _encoded(document)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if digest not in self._written:
            self._bytes(_blob(digest), content)
            self._written.add(digest)
        return {"mediaType": media, "digest": digest, "size": len(content)}

    def _file(self, digest: str, path: Path) -> dict[str, Any]:
        size = path.stat().st_size
        if digest not in self._written:
            info = tarfile.TarInfo(_blob(digest))
            info.size = size
            with path.open("rb") as file:
                self._tar.addfile(info, file)
            self._written.add(digest)
        return {"mediaType": _LAYER, "digest": digest, "size": size}

    def _bytes(self, name: str, content: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        self._tar.addfile(info, io.BytesIO(content))


def _config(stage: Stage, digests: list[str], architecture: str) -> dict[str, Any]:
    runtime: dict[str, Any] = {"Env": [f"{k}={v}" for k, v in stage.environment.items()]}
    if stage.user is not None:
        runtime["User"] = stage.user
    if stage.entrypoint:
        runtime["Entrypoint"] = list(stage.entrypoint)
    return {
        "architecture": architecture,
        "os": "linux",
        "config": runtime,
        "rootfs": {"type": "layers", "diff_ids": digests},
    }


def _encoded(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1, sort_keys=True).encode()


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"
