"""Ensembles in memory, for engines that run in virtual time.

They meet the engine on the wire: real lanes and the real watch session send real frames to servers
that hold a tree each. What is not real is TCP (`network`), the clock and chance (`loop`); so a run
is what its seed makes it, and no waiting takes time.

`tree` is one server's znodes, `ensemble` its leader, servers and sessions, `door` one connection to
a server, `frames` its bytes, `faults` what goes wrong. That they behave like ZooKeeper is held by
`test_contract.py`, which runs the same tests against a real server.
"""
