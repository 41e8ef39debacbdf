"""How an engine comes to its pair: it looks at both sides, asks where they are not what is known of
them, takes the fence, and binds its base to the pair.

Whatever it is that breaks this off, the next start goes on: nothing is written before the base has
forgotten what is true no more, and what an operator's word was for is noted until that is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import structlog

from sync_engine.base import BaseStore
from sync_engine.direction import Side
from sync_engine.fence import Fence
from sync_engine.link import Link
from sync_engine.pair import check_unchanged, identify, prepare
from sync_engine.provenance import (
    WORD,
    Found,
    Verdict,
    inspect,
    judge,
    read_known,
    read_owners,
    resumed,
)
from sync_engine.settings import Rules

_log = structlog.get_logger()
# Whether what the start waits for has gone by itself.
_LOOK_AGAIN_S = 1.0


class Asker(Protocol):
    """Who asks an operator, and hears the answer."""

    held_reasons: tuple[str, ...]
    """Why the start waits for an operator."""
    start_confirmed: asyncio.Event

    def take_word(self, reasons: Sequence[str]) -> bool:
        """Whether a word that was given is about these reasons; it counts once."""
        ...


async def come_to_pair(
    links: Mapping[Side, Link], store: BaseStore, fence: Fence, rules: Rules, *, asker: Asker
) -> None:
    """Take the fence on both sides, of which one pair is made if they are none, and bind the base
    to it.

    Raises:
        FencedError: another engine has taken over.
        StateError: what the engine keeps of itself cannot be read or written.
        UnprovenError: the sides have changed since they were looked at: look again.
    """
    verdict, found = await _await_consent(links, store, rules, asker)
    if verdict.reasons:
        # Before anything is written: the fence's epoch is a newest write of ours, and would say of
        # a side that went back that it only went forward.
        store.unbind([(WORD, verdict.word)])
    word = store.meta(WORD)
    verdict = resumed(verdict, word)
    await prepare(links)
    await fence.take()
    await check_unchanged(links, {side: found[side].identity for side in Side})
    pair = await identify(links, fence, renew=verdict.renew, keep_owners=verdict.keep_owners)
    # An operator's word for the start is one for all that it copies.
    store.bind(pair, confirmed=[rule.name for rule in rules.subtrees if word is not None])


async def _await_consent(
    links: Mapping[Side, Link], store: BaseStore, rules: Rules, asker: Asker
) -> tuple[Verdict, Mapping[Side, Found]]:
    """Look at both sides, and wait for an operator if they are not what is known of them; returns
    what was found too."""
    while True:
        generations = {side: link.generation for side, link in links.items()}
        roots = {side: [rule.path(side) for rule in rules.subtrees] for side in Side}
        found = {
            side: await inspect(side, link.writer, roots[side]) for side, link in links.items()
        }
        if found[Side.A].identity == found[Side.B].identity is not None:
            # One ensemble on both sides is no case for consent.
            await prepare(links)
        owners = await read_owners(links, rules.subtrees)
        verdict = judge(found, read_known(store), owners)
        if not verdict.reasons or asker.take_word(verdict.reasons):
            asker.held_reasons = ()
            # A word about what waits no longer must not count when it comes again.
            asker.start_confirmed.clear()
            for side, link in links.items():
                link.prove(generations[side])
            return verdict, found
        if verdict.reasons != asker.held_reasons:
            _log.error("engine.held", reasons=verdict.reasons)
        asker.held_reasons = verdict.reasons
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_AGAIN_S):
                await asker.start_confirmed.wait()
