"""Whether a running cluster has what its stack declares: read-only, for one look or a monitor.

`declared` says what should be, from configuration and outputs; `judge` compares, both pure; `looks`
asks the cluster; `run` does all of it.
"""
