"""Whether these are the ensembles that the engine knows, and whether they only went forward since.

An ensemble that was restored from an older snapshot, wiped, or exchanged for another looks like one
whose clients deleted and changed a great deal; copied on, that is the end of the other side too. So
before anything is written, at the start and after every lost connection, what each side says of
itself is compared with what the engine has noted: the pair's identity, the zxid, and how new the
engine's own znodes are (a quorum that is restored gets a higher epoch, and so a zxid that tells
nothing). Deciding is pure; what is not as it was waits for an operator.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from sync_engine import documents
from sync_engine.base import BaseStore
from sync_engine.direction import Direction, Side
from sync_engine.documents import Epoch, Identity, Ownership
from sync_engine.errors import NoNodeError
from sync_engine.lane import Lane
from sync_engine.link import Link
from sync_engine.rules import SubtreeRule

WORD = "word"
"""Under which a base that was emptied by an operator's word notes what the word is for, until the
start that it was given to has bound it to a pair."""
_RENEW, _KEEP_OWNERS = "renew", "keep-owners"


@dataclass(frozen=True, slots=True)
class Found:
    """What a side says of itself."""

    identity: Identity | None
    marker: int
    """The highest zxid of the engine's own writes there: of its marker, and of the epoch."""
    zxid: int
    has_data: bool = False
    """Whether something stands in the subtrees' paths."""
    epoch: int = 0
    """The fence's; 0: it is not there."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the engine has noted; no pair: nothing yet."""

    pair: str | None = None
    markers: Mapping[Side, int] = field(default_factory=dict[Side, int])
    zxids: Mapping[Side, int] = field(default_factory=dict[Side, int])
    epoch: int = 0
    """The fence's that this engine holds on both sides; 0: none yet."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why the engine must wait; nothing if it may go on."""

    reasons: tuple[str, ...] = ()
    renew: bool = False
    """Whether these become a new pair, of which nothing is known: once they may go on."""
    keep_owners: bool = False
    """Whether who owns what stays true all the same."""

    @property
    def word(self) -> str:
        """What an operator's word for it is for, as it is noted."""
        what = {_RENEW: self.renew, _KEEP_OWNERS: self.keep_owners}
        return " ".join(["confirmed", *(name for name, is_so in what.items() if is_so)])


_RESTORE = "restore it, or confirm to go on from what both sides hold, without deletes"


def resumed(verdict: Verdict, word: str | None) -> Verdict:
    """Go on with a word that is noted and not carried out: its start was broken off, and by now the
    sides may look as if nothing had happened to them."""
    noted = (word or "").split()
    if _RENEW not in noted:
        return verdict
    return replace(verdict, renew=True, keep_owners=_KEEP_OWNERS in noted)


def judge(found: Mapping[Side, Found], known: Known, owners: Collection[Side]) -> Verdict:
    """Compare what both sides say with what is known. `owners` are the sides that own anything."""
    a, b = found[Side.A].identity, found[Side.B].identity
    if a is not None and a == b:
        msg = (
            f"both sides say that they are side {a.side.value} of pair {a.pair}: one was started "
            "from the other's data; name the right hosts, or confirm to begin anew, without deletes"
        )
        return Verdict((msg,), renew=True)
    swapped = [
        side
        for side, one in found.items()
        if one.identity is not None
        and one.identity.side is not side
        and (one.identity.pair == known.pair or (a is not None and b is not None))
    ]
    if swapped:
        names = " and ".join(
            f"side {side.value} says that it is side {side.other.value}" for side in swapped
        )
        msg = (
            f"the sides are exchanged: {names} of pair {_pair(found, swapped[0])}; exchange the "
            "rules' hosts, or confirm to begin anew with the owners of the rules, without deletes"
        )
        return Verdict((msg,), renew=True)
    if a is not None and b is not None:
        return _judge_pair(found, known, a, b)
    if a is None and b is None:
        if known.pair is None:
            return Verdict(renew=True)
        msg = (
            f"neither side knows of pair {known.pair}, of which this engine's checkpoint is: they "
            f"are other ensembles, or both were wiped; {_RESTORE}"
        )
        return Verdict((msg,), renew=True, keep_owners=True)
    return _judge_half(found, known, owners)


def _judge_pair(found: Mapping[Side, Found], known: Known, a: Identity, b: Identity) -> Verdict:
    if a.pair != b.pair:
        msg = (
            f"side a is of pair {a.pair} and side b of pair {b.pair}: they were never copied to "
            "each other; name the right hosts, or confirm to make them a pair, without deletes"
        )
        return Verdict((msg,), renew=True)
    if known.pair is not None and known.pair != a.pair:
        msg = (
            f"this engine's checkpoint is of pair {known.pair}, and the ensembles are of pair "
            f"{a.pair}: configure that pair's state_dir, or confirm to compare in full, without "
            "deletes"
        )
        return Verdict((msg,), keep_owners=True)
    reasons = tuple(
        reason for side in Side if (reason := went_back(side, found[side], known)) is not None
    )
    return Verdict(reasons, renew=bool(reasons), keep_owners=True)


def went_back(side: Side, found: Found, known: Known) -> str | None:
    """Whether a side holds less than it once told the engine."""
    if known.pair is None:
        return None
    if found.epoch < known.epoch:
        return (
            f"side {side.value} holds epoch {found.epoch}, and this engine holds {known.epoch}: it "
            f"was restored from an older snapshot, or its epoch was changed by hand; {_RESTORE}"
        )
    marker, zxid = known.markers.get(side, 0), known.zxids.get(side, 0)
    if found.identity is None or found.identity.pair != known.pair:
        return f"side {side.value} no longer knows of pair {known.pair}: it was wiped; {_RESTORE}"
    if found.marker < marker:
        seen, had = found.marker, marker
    elif found.zxid < zxid:
        seen, had = found.zxid, zxid
    else:
        return None
    return (
        f"side {side.value} went back to zxid 0x{seen:x}, and the engine has seen 0x{had:x}: it "
        f"was restored from an older snapshot; {_RESTORE}"
    )


def _judge_half(found: Mapping[Side, Found], known: Known, owners: Collection[Side]) -> Verdict:
    """One side is of a pair and the other of none."""
    new = Side.A if found[Side.A].identity is None else Side.B
    pair = _pair(found, new.other)
    is_of_checkpoint = known.pair == pair
    if known.pair is not None and not is_of_checkpoint:
        msg = (
            f"this engine's checkpoint is of pair {known.pair}, and side {new.other.value} is of "
            f"pair {pair}: configure that pair's state_dir, or confirm to begin anew, without "
            "deletes"
        )
        return Verdict((msg,), renew=True)
    if is_of_checkpoint and new in owners:
        msg = (
            f"side {new.value} owns a part of the tree and no longer knows of pair {pair}: the "
            f"source was wiped, or is another ensemble; {_RESTORE}"
        )
        return Verdict((msg,), renew=True, keep_owners=True)
    other = found[new.other]
    if new in owners and other.has_data and not is_of_checkpoint:
        msg = (
            f"side {new.other.value} holds what was copied from another ensemble of pair {pair}, "
            f"and side {new.value}, which owns it, is new: name the right hosts, or confirm to "
            "begin anew, without deletes"
        )
        return Verdict((msg,), renew=True)
    if is_of_checkpoint and found[new].has_data:
        msg = (
            f"side {new.value} holds data and does not know of pair {pair}: it is another "
            "ensemble; name the right hosts, or confirm to begin anew, without deletes"
        )
        return Verdict((msg,), renew=True, keep_owners=True)
    # A new target that is empty: all of it is copied again.
    return Verdict(renew=True)


def _pair(found: Mapping[Side, Found], side: Side) -> str:
    identity = found[side].identity
    return "none" if identity is None else identity.pair


# What both sides and the notes say, read


async def inspect(side: Side, lane: Lane, roots: Collection[str] = ()) -> Found:
    """Ask a side; nothing is written.

    Raises:
        StateError: its identity cannot be read.
        ConnectionLostError: it does not answer.
    """
    await lane.sync(documents.IDENTITY)
    identity = await read_identity(lane)
    written = await lane.exists(documents.marker_path(Direction.leaving(side)))
    marker, epoch = 0 if written is None else written.mzxid, 0
    with suppress(NoNodeError):
        data, stat = await lane.get(documents.EPOCH)
        marker = max(marker, stat.mzxid)
        epoch = documents.decode(Epoch, data, documents.EPOCH).epoch if data else 0
    has_data = False
    for root in roots:
        found = await lane.exists(root)
        has_data = has_data or (found is not None and bool(found.num_children))
    return Found(identity, marker, lane.last_zxid, has_data, epoch)


async def read_identity(lane: Lane) -> Identity | None:
    """Of which pair a side says that it is; None: of none.

    Raises:
        StateError: it cannot be read.
    """
    data = await _get(lane, documents.IDENTITY)
    return documents.decode(Identity, data, documents.IDENTITY) if data else None


async def read_owners(links: Mapping[Side, Link], rules: Collection[SubtreeRule]) -> set[Side]:
    """The sides that own a subtree, as either side's documents say."""
    owners: set[Side] = set()
    for rule in rules:
        docs: list[Ownership] = []
        path = documents.subtree_path(rule.name)
        for link in links.values():
            data = await _get(link.writer, path)
            if data:
                docs.append(documents.decode(Ownership, data, path))
        first = Ownership(owner=rule.owner)
        owners.add(max(docs, key=lambda doc: doc.term, default=first).owner)
        if rule.goes_both_ways:
            owners |= set(Side)
    return owners


async def _get(lane: Lane, path: str) -> bytes | None:
    try:
        return (await lane.get(path))[0]
    except NoNodeError:
        return None


def read_known(store: BaseStore) -> Known:
    """What was noted.

    Raises:
        DamagedBaseError: it cannot be read.
    """
    with store.db.reading():
        return Known(
            store.meta("pair"),
            {side: int(store.meta(f"marker:{side.value}") or 0) for side in Side},
            {side: max(_noted_zxid(store, side), store.zxid_max(side)) for side in Side},
        )


def _noted_zxid(store: BaseStore, side: Side) -> int:
    return int(store.meta(f"zxid:{side.value}") or 0)


def note(store: BaseStore, side: Side, *, marker: int, zxid: int) -> None:
    """Note how far a side has come."""
    if marker:
        store.note(f"marker:{side.value}", str(marker))
    if zxid:
        store.note(f"zxid:{side.value}", str(zxid))
