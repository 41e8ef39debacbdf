"""Stacks: configuration, and updates with the real engine."""
