"""Scripts that print targets and what was measured; none of them fails on time."""
