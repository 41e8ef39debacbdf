"""Faults on real ensembles: what is done to them, what must come of it, and what was seen.

`cases` says what there is to try, as data; `acts` does it, `stage` is what it is done to: two
ensembles, the engine as a process of its own, and ways between them that can be cut. `writers` are
the clients on both sides, `driver` runs a case and has the history checker look at the outcome,
`failpoints` kills an engine between two of its steps, `report` makes the page of the last run.
"""
