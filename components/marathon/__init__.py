"""Marathon, and its run-time objects: apps, groups and rollouts."""
