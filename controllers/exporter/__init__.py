"""Tells Prometheus what Mesos masters and agents count.

`table` names metrics, `render` makes text of snapshots, both pure; `gather` asks masters and
agents, `serve` answers scrapes.
"""
