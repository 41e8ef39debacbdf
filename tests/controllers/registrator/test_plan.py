"""What it takes to make Consul's catalog equal to what is wanted: values in, values out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clients.consul import Node, Service, Status
from controllers.registrator.entries import Entry
from controllers.registrator.plan import MARK, Deregister, Held, after, check_id, plan

CLUSTER = "main"
OURS = {MARK: CLUSTER}
Wanted = list[tuple[Entry, str]]


def entry(number: int = 1, host: str = "h", status: Status | None = Status.PASSING) -> Entry:
    return Entry(host, f"web.{number}:0", "web", 31_000 + number, (), "/web", status)


def holding(*wanted: Entry) -> tuple[Held, ...]:
    return after((), plan([(one, "10.0.0.1") for one in wanted], (), CLUSTER).registers)


def test_a_node_stands_for_a_host_and_bears_the_mark() -> None:
    (register,) = plan([(entry(), "10.0.0.1")], (), CLUSTER).registers

    assert register.node.name == "main-h"
    assert register.node.meta == {"external-node": "true", "external-probe": "false", **OURS}
    assert register.service.address == register.node.address == "10.0.0.1"
    assert register.service.meta == {**OURS, "app": "/web"}


def test_what_differs_is_registered_again_and_nothing_else() -> None:
    held = holding(entry(1), entry(2))
    changed = [(entry(1), "10.0.0.1"), (entry(2, status=Status.CRITICAL), "10.0.0.1")]

    made = plan(changed, held, CLUSTER)

    assert [one.service.id for one in made.registers] == ["web.2:0"]
    assert made.deregisters == ()
    # Its host has another address.
    assert len(plan([(entry(1), "10.9.9.9")], holding(entry(1)), CLUSTER).registers) == 1


def test_what_is_taken_away_takes_its_check_along() -> None:
    held = holding(entry(1), entry(2))

    made = plan([(entry(1), "10.0.0.1")], held, CLUSTER)

    assert after(held, made.deregisters) == holding(entry(1))


def test_what_is_gone_is_taken_away_and_its_node_with_the_last_of_it() -> None:
    held = holding(entry(1), entry(2), entry(3, "other"))

    made = plan([(entry(1), "10.0.0.1")], held, CLUSTER)

    assert made.deregisters == (Deregister("main-h", "web.2:0"), Deregister("main-other", None))
    assert made.removed == 2


def test_an_unknown_health_leaves_what_consul_has() -> None:
    unknown = [(entry(1, status=None), "10.0.0.1"), (entry(2, status=None), "10.0.0.1")]
    held = holding(entry(1), entry(2, status=Status.CRITICAL))

    assert plan(unknown, held, CLUSTER).registers == ()
    # Of what Consul has not, nobody is sent there before it is known to be well.
    assert {one.status for one in plan(unknown, (), CLUSTER).registers} == {Status.CRITICAL}


def test_nothing_of_anybody_elses_is_touched() -> None:
    theirs = Service("web.1:0", "web", "10.0.0.1", 1)
    held = (
        Held(Node("main-h", "10.0.0.1", OURS), (theirs,)),
        Held(Node("main-x", "10.0.0.2", {MARK: "other"})),
        Held(Node("consul-0", "10.0.0.3")),
    )

    made = plan([(entry(1), "10.0.0.1"), (entry(2, "x"), "10.0.0.2")], held, CLUSTER)

    assert (made.registers, made.deregisters) == ((), ())
    assert [problem.why for problem in made.problems] == [
        "Consul has a service web.1:0 that is not ours",
        "Consul has a node main-x that is not ours",
    ]
    # A node of ours stays while somebody else has a service there.
    assert plan([], held, CLUSTER).deregisters == ()


def test_a_loss_is_everything_or_more_than_a_share_and_a_few() -> None:
    numbers = range(40)
    held = holding(*map(entry, numbers))

    def left(count: int) -> bool:
        wanted = [(entry(one), "10.0.0.1") for one in numbers[:count]]
        return plan(wanted, held, CLUSTER).is_loss(share=0.5, entries=10)

    assert [left(count) for count in (40, 30, 20, 19, 0)] == [False, False, False, True, True]
    assert plan([], holding(entry()), CLUSTER).is_loss(share=0.5, entries=10)
    assert not plan([], (), CLUSTER).is_loss(share=0.5, entries=10)


_ENTRIES = st.builds(
    entry,
    st.integers(0, 6),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from([Status.PASSING, Status.CRITICAL, None]),
)
# Each task runs on one host.
_WANTED = st.lists(_ENTRIES, max_size=7, unique_by=lambda one: one.id).map(
    lambda found: [(one, f"10.0.0.{ord(one.host)}") for one in found]
)
_FOREIGN = (
    Held(Node("consul-0", "10.1.0.1")),
    Held(Node("main-c", "10.1.0.2"), (Service("web.1:0", "web", "10.1.0.2", 1),)),
)


@given(before=_WANTED, wanted=_WANTED, foreign=st.sampled_from([(), _FOREIGN[:1], _FOREIGN]))
def test_one_plan_is_enough_and_none_touches_what_is_foreign(
    before: Wanted, wanted: Wanted, foreign: tuple[Held, ...]
) -> None:
    held = after(foreign, plan(before, foreign, CLUSTER).registers)

    made = plan(wanted, held, CLUSTER)
    then = after(held, [*made.registers, *made.deregisters])

    again = plan(wanted, then, CLUSTER)
    assert (again.registers, again.deregisters) == ((), ())
    assert [one for one in then if one.node.meta.get(MARK) is None] == list(foreign)
    ours = {s.id for one in then if one.node.meta.get(MARK) for s in one.services}
    refused = {"main-c"} if len(foreign) == 2 else set[str]()
    assert ours == {one.id for one, _ in wanted if f"main-{one.host}" not in refused}


@given(before=_WANTED, wanted=_WANTED, cut=st.integers(0, 20))
def test_whoever_comes_after_an_end_in_between_does_the_rest(
    before: Wanted, wanted: Wanted, cut: int
) -> None:
    held = after((), plan(before, (), CLUSTER).registers)
    made = plan(wanted, held, CLUSTER)
    calls = [*made.registers, *made.deregisters]

    cut_off = after(held, calls[:cut])
    rest = plan(wanted, cut_off, CLUSTER)
    then = after(cut_off, [*rest.registers, *rest.deregisters])

    assert {s.id for one in then for s in one.services} == {one.id for one, _ in wanted}
    assert all(check_id(s.id) in one.statuses for one in then for s in one.services)
