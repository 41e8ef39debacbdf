"""Whether a running cluster has what its stack declares."""
