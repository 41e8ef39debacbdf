"""The registry: quorum, wiped replicas, rival leaders; replicas are real, the network is not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from stacks.local.errors import DeposedError, NoQuorumError, StartError
from stacks.local.mesos import registry
from stacks.local.mesos.registrar import Registrar
from stacks.local.mesos.replica import Replica, Status


class Group:
    """Replicas that reach each other unless they are down."""

    def __init__(self, folder: Path, size: int = 3, *, auto_initialize: bool = True) -> None:
        self.folder = folder
        self.down: set[int] = set()
        self.replicas = [Replica(folder / str(number)) for number in range(size)]
        self._auto_initialize = auto_initialize

    def registrar(self, number: int, *, auto_initialize: bool | None = None) -> Registrar:
        initialize = self._auto_initialize if auto_initialize is None else auto_initialize
        return Registrar(
            self.replicas[number],
            _Peers(self, number),
            quorum=len(self.replicas) // 2 + 1,
            auto_initialize=initialize,
        )

    def wipe(self, number: int) -> None:
        """A master that comes back with an empty folder."""
        path = self.folder / str(number) / "replicated_log" / "register.json"
        path.unlink()
        self.restart(number)

    def restart(self, number: int) -> None:
        self.replicas[number] = Replica(self.folder / str(number))

    async def form(self) -> list[Registrar]:
        registrars = [self.registrar(number) for number in range(len(self.replicas))]
        await asyncio.wait_for(asyncio.gather(*(r.recover() for r in registrars)), 10)
        return registrars


class _Peers:
    def __init__(self, group: Group, own: int) -> None:
        self._group = group
        self._own = own

    @property
    def addresses(self) -> Sequence[str]:
        return [str(n) for n in range(len(self._group.replicas)) if n != self._own]

    async def ask(self, address: str, message: dict[str, Any]) -> dict[str, Any] | None:
        # As a real question, it lets others go on meanwhile.
        await asyncio.sleep(0)
        if {int(address), self._own} & self._group.down:
            return None
        return self._group.replicas[int(address)].answer(message)


async def test_an_empty_group_starts_when_all_of_it_is_there(tmp_path: Path) -> None:
    registrars = await Group(tmp_path).form()
    assert all(registrar.is_recovered for registrar in registrars)


async def test_an_empty_group_does_not_start_while_a_member_is_missing(tmp_path: Path) -> None:
    group = Group(tmp_path)
    group.down.add(2)
    work = asyncio.gather(*(group.registrar(n).recover() for n in range(2)))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(work, 0.5)


async def test_without_auto_initialisation_a_wiped_group_stays_unrecovered(tmp_path: Path) -> None:
    group = Group(tmp_path, auto_initialize=False)
    work = asyncio.gather(*(group.registrar(n).recover() for n in range(3)))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(work, 0.5)
    assert {replica.register.status for replica in group.replicas} == {Status.EMPTY}


async def test_a_group_that_is_wiped_altogether_comes_up_empty_and_is_whole(tmp_path: Path) -> None:
    group = Group(tmp_path)
    registrars = await group.form()
    await registrars[0].fetch(5)
    await registrars[0].store(registry.set_weights({"dev": 2.0}))
    for number in range(3):
        group.wipe(number)
    again = await group.form()
    assert all(registrar.is_recovered for registrar in again)
    assert await again[1].fetch(5) == {}


async def test_a_stored_change_is_read_by_the_next_leader(tmp_path: Path) -> None:
    group = Group(tmp_path)
    registrars = await group.form()
    await registrars[0].fetch(5)
    await registrars[0].store(registry.set_weights({"dev": 2.0}))
    group.down.add(0)
    assert await registrars[1].fetch(5) == {"weights": {"dev": 2.0}}


async def test_a_minority_can_neither_read_nor_write(tmp_path: Path) -> None:
    group = Group(tmp_path)
    registrars = await group.form()
    await registrars[0].fetch(5)
    group.down |= {1, 2}
    with pytest.raises(NoQuorumError):
        await registrars[0].store(registry.set_weights({"dev": 2.0}))
    with pytest.raises(NoQuorumError):
        await registrars[0].fetch(0.2)


async def test_a_wiped_replica_catches_up_from_the_others(tmp_path: Path) -> None:
    group = Group(tmp_path)
    registrars = await group.form()
    await registrars[0].fetch(5)
    await registrars[0].store(registry.set_weights({"dev": 2.0}))
    group.wipe(2)
    wiped = group.registrar(2, auto_initialize=False)
    assert not wiped.is_recovered
    await asyncio.wait_for(wiped.recover(), 5)
    assert group.replicas[2].register.document == {"weights": {"dev": 2.0}}
    group.down.add(0)
    assert await wiped.fetch(5) == {"weights": {"dev": 2.0}}


async def test_a_replica_that_may_not_vote_neither_promises_nor_accepts(tmp_path: Path) -> None:
    replica = Replica(tmp_path)
    assert not replica.promise(5)
    assert not replica.write(5, 1, {"weights": {}})


async def test_an_old_leader_is_deposed_by_its_next_write(tmp_path: Path) -> None:
    group = Group(tmp_path)
    old, new, _ = await group.form()
    await old.fetch(5)
    await new.fetch(5)
    with pytest.raises(DeposedError):
        await old.store(registry.set_weights({"dev": 2.0}))
    assert await new.fetch(5) == {}


async def test_promises_and_documents_outlive_the_process(tmp_path: Path) -> None:
    group = Group(tmp_path)
    registrars = await group.form()
    await registrars[0].fetch(5)
    await registrars[0].store(registry.set_weights({"dev": 2.0}))
    before = [replica.register for replica in group.replicas]
    for number in range(3):
        group.restart(number)
    assert [replica.register for replica in group.replicas] == before


async def test_a_change_that_changes_nothing_is_not_written(tmp_path: Path) -> None:
    group = Group(tmp_path, size=1)
    (registrar,) = await group.form()
    await registrar.fetch(5)
    await registrar.store(registry.set_weights({"dev": 2.0}))
    position = group.replicas[0].register.position
    await registrar.store(registry.set_weights({"dev": 2.0}))
    assert group.replicas[0].register.position == position


async def test_what_is_asked_for_during_a_write_goes_into_the_next_one(tmp_path: Path) -> None:
    group = Group(tmp_path)
    registrars = await group.form()
    await registrars[0].fetch(5)
    before = group.replicas[0].register.position
    changes = [registry.set_weights({f"role{number}": 2.0}) for number in range(50)]
    await asyncio.gather(*(registrars[0].store(change) for change in changes))
    assert len(registrars[0].document["weights"]) == 50
    assert group.replicas[0].register.position - before <= 2


async def test_a_caller_that_gives_up_does_not_take_others_changes_along(tmp_path: Path) -> None:
    group = Group(tmp_path)
    registrars = await group.form()
    await registrars[0].fetch(5)
    first = asyncio.ensure_future(registrars[0].store(registry.set_weights({"a": 2.0})))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(registrars[0].store(registry.set_weights({"b": 2.0})))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert registrars[0].document["weights"]["b"] == 2.0
    assert group.replicas[1].register.document == registrars[0].document


def test_a_broken_register_is_told_plainly(tmp_path: Path) -> None:
    folder = tmp_path / "replicated_log"
    folder.mkdir()
    (folder / "register.json").write_text("{half")
    with pytest.raises(StartError, match="catches up"):
        Replica(tmp_path)
