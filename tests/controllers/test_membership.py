"""Who joins or leaves an ensemble next: over values, for whatever servers say."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from controllers.caretaker.membership import (
    Configuration,
    Join,
    Leave,
    Mode,
    Server,
    next_step,
)
from controllers.caretaker.rolling import Done, Wait

SIZES = (3, 5, 7)
ZXID = 0x1_0000_0010


def quorum(size: int) -> int:
    return size // 2 + 1


def first(size: int) -> frozenset[int]:
    return frozenset(range(1, size + 1))


@st.composite
def moments(draw: st.DrawFn) -> tuple[Configuration, dict[int, Server], frozenset[int]]:
    """Any ensemble, told whatever its servers may say at one moment, and any wish."""
    voters = draw(st.frozensets(st.integers(1, 8), min_size=1, max_size=7))
    said = st.builds(Server, st.sampled_from(Mode), st.integers(ZXID - 3, ZXID + 3))
    servers = draw(st.dictionaries(st.integers(1, 8), said))
    return (
        Configuration(draw(st.integers(0, 99)), voters),
        servers,
        first(draw(st.sampled_from(SIZES))),
    )


def serving(voters: frozenset[int], servers: dict[int, Server]) -> int:
    """Voters that answer as such and hold what was written."""
    return sum(
        number in servers
        and servers[number].mode is not Mode.OBSERVER
        and servers[number].zxid >= ZXID
        for number in voters
    )


@given(moments())
def test_a_step_moves_one_server_and_keeps_every_server_that_stays(
    moment: tuple[Configuration, dict[int, Server], frozenset[int]],
) -> None:
    configuration, servers, wanted = moment

    step = next_step(configuration, servers, wanted=wanted, written=ZXID)

    voters = configuration.voters
    assert isinstance(step, Done) is (voters == wanted)
    if isinstance(step, Wait | Done):
        return
    # Whoever else changes it meanwhile wins.
    assert step.version == configuration.version
    stay = voters & wanted
    assert stay
    assert serving(stay, servers) == len(stay)
    if isinstance(step, Join):
        assert step.server in wanted - voters
        assert serving(frozenset({step.server}), servers) == 1
    else:
        assert step.server in voters - wanted
        # Nobody leaves an ensemble that somebody could still join.
        assert wanted <= voters
        mode = servers[step.server].mode if step.server in servers else None
        if mode is Mode.LEADER:
            assert voters - wanted == {step.server}


@given(
    st.sampled_from(SIZES),
    st.sampled_from(SIZES),
    st.integers(1, 7),
    st.data(),
)
def test_steps_lead_to_the_wanted_size_without_ever_losing_the_quorum(
    old: int, new: int, leads: int, data: st.DataObject
) -> None:
    voters, wanted = first(old), first(new)
    leader = min(leads, old)
    # Those that leave may be gone already, as far as a majority is there to agree on it.
    gone = data.draw(st.frozensets(st.sampled_from(sorted(voters)), max_size=old - quorum(old)))
    gone = gone - wanted - {leader}
    servers = {number: Server(Mode.FOLLOWER, ZXID) for number in (voters | wanted) - gone} | {
        leader: Server(Mode.LEADER, ZXID)
    }
    configuration = Configuration(1, voters)
    order: list[int] = []

    while not isinstance(
        step := next_step(configuration, servers, wanted=wanted, written=ZXID), Done
    ):
        assert not isinstance(step, Wait)
        order.append(step.server)
        voters = voters | {step.server} if isinstance(step, Join) else voters - {step.server}
        configuration = Configuration(configuration.version + 1, voters)
        assert serving(voters, servers) >= quorum(len(voters))
        if isinstance(step, Leave) and step.server == leader:
            # Those that are left elect one.
            servers[min(voters)] = Server(Mode.LEADER, ZXID)
    assert configuration.voters == wanted
    assert len(order) == abs(new - old)
    if leader in order:
        assert order[-1] == leader


def running(size: int, *, leader: int = 1) -> dict[int, Server]:
    return {
        number: Server(Mode.LEADER if number == leader else Mode.FOLLOWER, ZXID)
        for number in first(size)
    }


def reason(step: object) -> str:
    assert isinstance(step, Wait)
    return step.reason


def test_an_empty_server_gets_no_vote_before_it_has_caught_up() -> None:
    servers = running(5)
    servers[4] = replace(servers[4], zxid=0)
    servers[5] = replace(servers[5], zxid=ZXID - 1)
    configuration = Configuration(7, first(3))

    assert "server 4" in reason(next_step(configuration, servers, wanted=first(5), written=ZXID))

    servers[5] = replace(servers[5], zxid=ZXID)
    step = next_step(configuration, servers, wanted=first(5), written=ZXID)
    assert step == Join(5, 7)


def test_nothing_changes_while_nobody_leads_or_one_that_stays_is_away() -> None:
    configuration = Configuration(7, first(5))
    servers = running(5)

    del servers[2]
    assert "server 2" in reason(next_step(configuration, servers, wanted=first(3), written=ZXID))

    servers = running(5, leader=9)
    assert "0 servers" in reason(next_step(configuration, servers, wanted=first(3), written=ZXID))


def test_what_is_gone_leaves_first_and_the_leader_last() -> None:
    servers = running(5, leader=5)
    configuration = Configuration(7, first(5))
    assert next_step(configuration, servers, wanted=first(3), written=ZXID) == Leave(4, 7)

    servers = running(5)
    del servers[4]
    assert next_step(configuration, servers, wanted=first(3), written=ZXID) == Leave(4, 7)
