"""Digests and files of trees, with real servers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_asyncio

from sync_engine import tree
from sync_engine.ensemble import EnsembleAddress
from sync_engine.errors import EnsembleError, TreeFileError
from sync_engine.lane import Lane
from sync_engine.tree import StoredZnode, TreeHash
from sync_engine.wire import Create, Op
from sync_engine.znode import WORLD_ALL, Acl, content_hash
from tests.sync_engine.servers import AUTH, PASSWORD, Server

READ_ONLY = (Acl(1, "world", "anyone"), Acl(31, "digest", "me:hash"))


def _ops(root: str) -> list[Op]:
    return [
        Create(root, None, WORLD_ALL),
        Create(f"{root}/null", None, WORLD_ALL),
        Create(f"{root}/empty", b"", WORLD_ALL),
        Create(f"{root}/ключ", bytes(range(256)), READ_ONLY),
        *(Create(f"{root}/null/{index}", b"x" * index, WORLD_ALL) for index in range(300)),
    ]


def _address(server: Server) -> EnsembleAddress:
    return EnsembleAddress(server.hosts, server.auth_file)


def _names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


async def _fill(server: Server, ops: list[Op]) -> None:
    lane = Lane(server.hosts, AUTH, session_timeout_s=5)
    await lane.start()
    await lane.multi(ops)
    await lane.close()


def test_a_hash_needs_no_order_and_forgets_what_is_removed() -> None:
    one, two = TreeHash(), TreeHash()
    znodes = [(f"/{index}", content_hash(b"x", WORLD_ALL)) for index in range(5)]
    for znode in znodes:
        one.add(*znode)
    two.add("/gone", bytes(32))
    for znode in reversed(znodes):
        two.add(*znode)
    two.remove("/gone", bytes(32))
    assert one.digest() == two.digest()
    two.remove(*znodes[0])
    assert one.digest() != two.digest()


@pytest.mark.parametrize(
    "other",
    [(b"", WORLD_ALL), (b"x", WORLD_ALL), (None, READ_ONLY), (None, ())],
    ids=["empty", "data", "acl", "no-acl"],
)
def test_content_differs_by_data_null_and_acl(other: tuple[bytes | None, tuple[Acl, ...]]) -> None:
    assert content_hash(None, WORLD_ALL) != content_hash(*other)


def test_the_order_of_acl_entries_has_no_meaning() -> None:
    assert content_hash(b"", READ_ONLY) == content_hash(b"", READ_ONLY[::-1])


async def test_equal_trees_on_two_servers_have_equal_digests(pair: tuple[Server, Server]) -> None:
    a, b = pair
    await _fill(a, _ops("/equal"))
    await _fill(b, _ops("/equal"))
    left, right = [await tree.digest(_address(side), ["/equal"]) for side in pair]
    assert left == right
    assert left.znodes == 304
    lane = Lane(b.hosts, AUTH, session_timeout_s=5)
    await lane.start()
    await lane.create("/equal/ephemeral", b"", WORLD_ALL, ephemeral=True)
    assert await tree.digest(_address(b), ["/equal"]) == left
    await lane.set_data("/equal/null", b"", 0)
    assert await tree.digest(_address(b), ["/equal"]) != left
    await lane.set_data("/equal/null", None, 1)
    assert await tree.digest(_address(b), ["/equal"]) == left
    await lane.set_acl("/equal/null", READ_ONLY, 0)
    assert await tree.digest(_address(b), ["/equal"]) != left
    await lane.close()


async def test_paths_inside_each_other_count_once_and_absent_ones_not(
    pair: tuple[Server, Server],
) -> None:
    await _fill(pair[0], _ops("/once"))
    address = _address(pair[0])
    whole = await tree.digest(address, ["/once"])
    assert await tree.digest(address, ["/once/null", "/once", "/once/null/1", "/absent"]) == whole
    assert (await tree.digest(address, [])).znodes == 0


async def test_the_whole_tree_leaves_out_zookeepers_own(pair: tuple[Server, Server]) -> None:
    lane = Lane(pair[0].hosts, AUTH, session_timeout_s=5)
    await lane.start()
    paths = [znode.path async for znode in tree.persistent(lane, ["/"])]
    await lane.close()
    assert "/" in paths
    assert not [path for path in paths if path.startswith("/zookeeper")]


async def test_what_is_hidden_is_refused_and_not_left_out(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    closed = (Acl(31, "digest", "me:hash"),)
    await _fill(pair[0], [Create("/hidden", b"", WORLD_ALL), Create("/hidden/x", b"", closed)])
    await _fill(pair[0], [Create("/masked", b"", READ_ONLY)])
    nobody = EnsembleAddress(pair[0].hosts)
    with pytest.raises(EnsembleError, match="/hidden/x"):
        await tree.digest(nobody, ["/hidden"])
    older = tmp_path / "file"
    older.write_text("an older one")
    with pytest.raises(EnsembleError, match="/masked"):
        await tree.export(nobody, ["/masked"], older)
    assert _names(tmp_path) == ["file"]
    assert older.read_text() == "an older one"


async def test_a_file_gives_back_what_was_exported(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    ops = _ops("/exported")
    await _fill(pair[0], ops)
    file = tmp_path / "tree.jsonl"
    file.write_text("an older one")
    report = await tree.export(_address(pair[0]), ["/exported"], file)
    assert report == tree.verify(file)
    assert (report.znodes, report.bytes) == (304, file.stat().st_size)
    assert file.stat().st_mode & 0o777 == 0o600
    assert _names(tmp_path) == [file.name]
    assert PASSWORD not in file.read_text()
    znodes = list(tree.stored(file))
    seen: set[str] = {""}
    for znode in znodes:
        assert znode.path == "/exported" or znode.path.rpartition("/")[0] in seen
        seen.add(znode.path)
    assert {znode.path: znode for znode in znodes} == {
        op.path: StoredZnode(op.path, op.data, op.acl) for op in ops if isinstance(op, Create)
    }


@pytest_asyncio.fixture
async def exported(pair: tuple[Server, Server], tmp_path: Path) -> Path:
    file = tmp_path / "tree.jsonl"
    await tree.export(_address(pair[0]), ["/zookeeper/quota", "/absent"], file)
    return file


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda text: text[: text.rindex(b"\n", 0, -1) + 1],
    "changed": lambda text: text.replace(b"/zookeeper/quota", b"/zookeeper/quotb"),
    "head": lambda text: b"{}\n" + text,
    "tail": lambda text: text + text.splitlines(keepends=True)[1],
    "key": lambda text: text.replace(b'"data":', b'"date":'),
    "format": lambda text: text.replace(b"zksync-tree-1", b"zksync-tree-9"),
    "empty": lambda _: b"",
    "binary": lambda _: b"\xff\xfe\n",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_refused_whole(exported: Path, damage: str) -> None:
    exported.write_bytes(DAMAGE[damage](exported.read_bytes()))
    with pytest.raises(TreeFileError):
        next(tree.stored(exported))
