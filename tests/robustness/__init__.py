"""Long fault runs on the whole rig, and a short share of them for the default suite.

`rig` is a live cluster in a folder of its own, `failpoint` ends a migration between two steps,
`faults` kills a server at a seeded moment, `validate` says what must hold whatever happened.

`machine` and `history` need no rig: they put the real engine between ensembles in memory, the one
under every order of writes and faults, the other to account for every acknowledged write.
"""
