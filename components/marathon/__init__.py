"""Marathon's run-time objects: apps, groups and rollouts."""
