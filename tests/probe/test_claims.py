"""Nodes that several may tell of: they stay while one of them does, and never go in between."""

from __future__ import annotations

from probe.agent.claims import Claims
from probe.report.ledger import Ledger


def ledger(*agents: str) -> Ledger:
    made = Ledger("node", 1)
    for one in agents:
        made["mesos_agent"].put(one, address="10.0.0.1:5051")
    return made


def test_a_node_that_goes_from_one_to_another_is_never_away() -> None:
    made = ledger("S0")
    claims = Claims(made, ["mesos_agent"])
    claims.claim("blue", "mesos_agent", {"S0"})
    claims.settle()
    row = made["mesos_agent"].row("S0")

    claims.claim("blue", "mesos_agent", set())
    claims.claim("green", "mesos_agent", {"S0"})
    claims.settle()

    assert made["mesos_agent"].ids() == ["S0"]
    assert made["mesos_agent"].row("S0") == row


def test_the_last_who_told_has_it_alone() -> None:
    made = ledger("S0")
    claims = Claims(made, ["mesos_agent"])
    claims.claim("blue", "mesos_agent", {"S0"})
    claims.claim("green", "mesos_agent", {"S0"})
    claims.settle()
    claims.claim("green", "mesos_agent", set())
    claims.forget_before()
    claims.settle()

    assert made["mesos_agent"].ids() == []


def test_what_was_there_before_stays_until_it_is_let_go() -> None:
    made = ledger("S0", "S1")
    claims = Claims(made, ["mesos_agent"])
    claims.claim("blue", "mesos_agent", {"S1"})
    claims.settle()
    assert sorted(made["mesos_agent"].ids()) == ["S0", "S1"]

    claims.forget_before()
    claims.settle()
    assert made["mesos_agent"].ids() == ["S1"]
