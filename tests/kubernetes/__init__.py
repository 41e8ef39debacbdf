"""The target `kubernetes` against a real API server, with many nodes on which nothing runs."""
