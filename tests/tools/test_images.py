"""Images depend on their files alone, tell what they hold, and are what their Dockerfile says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tools.errors import StepFailedError, ToolMissingError
from tools.images import base, build, debian, dockerfile, layers, oci, sbom
from tools.images.debian import Package
from tools.images.dockerfile import Layer, Stage


def listed(path: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path) as archive:
        return {info.name: info for info in archive}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files that are like a program's."""
    folder = tmp_path / "tree"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "data").write_text("data")
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o750)
    (folder / "link").symlink_to("run")
    return folder


def test_a_layer_does_not_tell_who_made_it_or_when(tree: Path, tmp_path: Path) -> None:
    layers.of_files(tree, "opt/it", tmp_path / "one.tar")
    for path in tree.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    (tree / "inner" / "data").chmod(0o600)

    layers.of_files(tree, "opt/it", tmp_path / "two.tar")

    assert layers.digest(tmp_path / "one.tar") == layers.digest(tmp_path / "two.tar")


def test_a_layer_holds_a_folder_at_its_place(tree: Path, tmp_path: Path) -> None:
    layers.of_files(tree, "opt/it", tmp_path / "layer.tar")

    found = listed(tmp_path / "layer.tar")
    names = ["opt", "opt/it", "opt/it/inner", "opt/it/inner/data", "opt/it/link", "opt/it/run"]
    assert list(found) == names
    assert found["opt/it/run"].mode == 0o755
    assert found["opt/it/inner/data"].mode == 0o644
    assert found["opt/it/link"].linkname == "run"
    assert {(info.uid, info.gid, info.mtime) for info in found.values()} == {(0, 0, 0)}


def test_a_layer_holds_a_single_file_at_its_place(tree: Path, tmp_path: Path) -> None:
    layers.of_files(tree / "inner" / "data", "usr/share/data.json", tmp_path / "layer.tar")

    assert list(listed(tmp_path / "layer.tar")) == ["usr", "usr/share", "usr/share/data.json"]


def test_targets_have_what_their_bases_have() -> None:
    stages = dockerfile.read(
        "# said\nFROM scratch AS base\nADD base.tar /\nENV A=1 B=2\n\n"
        'FROM base AS it\nCOPY here /there\nENV A=3\nUSER 7:7\nENTRYPOINT ["a", "b c"]\n'
    )

    assert stages["base"] == Stage((Layer("base.tar", "", is_archive=True),), {"A": "1", "B": "2"})
    assert stages["it"] == Stage(
        (*stages["base"].layers, Layer("here", "there", is_archive=False)),
        {"A": "3", "B": "2"},
        "7:7",
        ("a", "b c"),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM scratch AS it\nRUN apt-get update", "images are made of files alone"),
        ("FROM debian:12 AS it", "expected one of no stage yet, saw 'debian:12'"),
        ("FROM scratch", "expected FROM <base> AS <name>"),
        ("COPY here /there", "expected one of no stage yet"),
    ],
)
def test_what_an_image_cannot_be_made_of_is_refused(text: str, expected: str) -> None:
    with pytest.raises(StepFailedError, match=expected):
        dockerfile.read(text)


def test_every_image_of_ours_runs_without_rights_and_tells_its_parts() -> None:
    stages = dockerfile.read(build.DOCKERFILE.read_text())

    for target in build.TARGETS:
        user, _, group = str(stages[target].user).partition(":")
        assert int(user) > 0
        assert int(group) > 0
        parts = Layer(
            f"sbom/{target}.cdx.json",
            "usr/share/mesos-platform/sbom.cdx.json",
            is_archive=False,
        )
        assert parts in stages[target].layers


def test_what_a_layer_holds_is_told_or_the_image_is_refused(tmp_path: Path) -> None:
    sources = (*base.GROUPS, "jars", "plugins")
    parts: dict[str, list[sbom.Part]] = {name: [{"purl": name}] for name in sources}

    def told(layer: Layer) -> list[object]:
        return [part["purl"] for part in build.parts_of(layer, parts, tmp_path)]

    for stage in dockerfile.read(build.DOCKERFILE.read_text()).values():
        for layer in stage.layers:
            expected = [layer.source.removesuffix(".tar")]
            assert told(layer) == (expected if expected[0] in sources else [])
    with pytest.raises(StepFailedError, match=r"expected one of base, .*, saw 'tools' in the Dock"):
        told(Layer("tools.tar", "", is_archive=True))


def test_an_archive_holds_each_layer_once_and_names_images_by_their_digests(
    tree: Path, tmp_path: Path
) -> None:
    layers.of_files(tree, "", tmp_path / "layer.tar")
    layer = (layers.digest(tmp_path / "layer.tar"), tmp_path / "layer.tar")
    writing = oci.Archive(tmp_path / "images.tar", "amd64")
    names = [
        writing.add(f"nobody.invalid/{name}", Stage(user=name), [layer]) for name in ("1:1", "2:2")
    ]
    writing.close()

    with tarfile.open(tmp_path / "images.tar") as archive:

        def read(name: str) -> bytes:
            member = archive.extractfile(name)
            assert member is not None
            return member.read()

        index = json.loads(read("index.json"))
        blobs = [name for name in archive.getnames() if name.startswith("blobs/")]
        digests = [manifest["digest"] for manifest in index["manifests"]]
        manifests = [json.loads(read(f"blobs/{d.replace(':', '/')}")) for d in digests]
        config = json.loads(read(f"blobs/{manifests[1]['config']['digest'].replace(':', '/')}"))
    assert len(blobs) == len(set(blobs)) == 5
    assert names == [
        f"nobody.invalid/{n}@{d}" for n, d in zip(("1:1", "2:2"), digests, strict=True)
    ]
    assert config["config"]["User"] == "2:2"
    assert config["rootfs"]["diff_ids"] == [layer[0]]


def test_a_package_is_unpacked_where_the_distribution_merged_its_folders(tmp_path: Path) -> None:
    content = tmp_path / "content"
    for name in (
        "DEBIAN/control",
        "bin/tool",
        "usr/share/man/man1/tool.1",
        "usr/share/doc/it/copyright",
    ):
        (content / name).parent.mkdir(parents=True, exist_ok=True)
        (content / name).write_text("")
    (content / "DEBIAN/control").write_text(
        "Package: it\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: it\n"
    )
    file = tmp_path / "it_1_all.deb"
    done = subprocess.run(["dpkg-deb", "--build", content, file], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr

    debian.layer(
        [Package("it", "1", "", file)], [("usr/bin/other", "tool")], tmp_path / "layer.tar"
    )

    found = listed(tmp_path / "layer.tar")
    assert found["bin"].linkname == "usr/bin"
    assert "usr/bin/tool" in found
    assert "bin/tool" not in found
    assert found["usr/bin/other"].linkname == "tool"
    assert "usr/share/doc/it/copyright" in found
    assert not [name for name in found if "man1" in name]


def test_a_jar_is_told_by_the_group_that_it_says(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "thing-core-1.2.3.jar", "w") as jar:
        pom = "META-INF/maven/org.thing/thing-core/pom.properties"
        jar.writestr(pom, "groupId=org.thing\nversion=1.2.3\n")
    with zipfile.ZipFile(tmp_path / "silent-4.jar", "w") as jar:
        jar.writestr("nothing", "")

    told = {str(part["purl"]) for part in sbom.of_jars(tmp_path)}

    assert told == {"pkg:maven/org.thing/thing-core@1.2.3", "pkg:generic/silent@4"}


def test_images_hold_wheels_that_are_pinned_and_no_pulumi(tmp_path: Path) -> None:
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", base.LOCK.read_text(), re.MULTILINE))
    for name, version in pinned.items():
        folder = tmp_path / f"{name}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n\nName: other\n")

    document = json.loads(sbom.document("platform", sbom.of_wheels(tmp_path)))

    assert document["bomFormat"] == "CycloneDX"
    assert {part["name"]: part["version"] for part in document["components"]} == pinned
    assert not [name for name in pinned if "pulumi" in name]
    stages = dockerfile.read(build.DOCKERFILE.read_text())
    assert set(build.wheels_of(stages.values())) <= pinned.keys()
    everything = dict(
        re.findall(
            r"^([a-z0-9-]+)==(\S+)",
            (base.CHECKOUT / "requirements" / "dev.txt").read_text(),
            re.MULTILINE,
        )
    )
    assert pinned.items() <= everything.items()


def test_what_was_not_prepared_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    with pytest.raises(ToolMissingError, match="run `make tools-kubernetes`"):
        base.folder()


def test_modules_are_compiled_for_the_python_of_images_and_equal_anywhere(tmp_path: Path) -> None:
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    found: list[bytes] = []
    for name in ("here", "there"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "module.py").write_text("def f() -> int:\n    return 1\n")
        base.compile_bytecode(folder, "/opt/it", "2.7")
        assert not (folder / "__pycache__").exists()

        base.compile_bytecode(folder, "/opt/it", own)
        os.utime(folder / "module.py", (1, 1))
        (compiled,) = (folder / "__pycache__").iterdir()
        found.append(compiled.read_bytes())

    assert found[0] == found[1]
    assert b"/opt/it/module.py" in found[0]
