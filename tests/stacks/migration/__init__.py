"""Transitions, against a model of the world."""
