"""A migration: transitions between desired states, with evidence and a way back."""
