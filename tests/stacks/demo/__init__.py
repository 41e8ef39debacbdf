"""Tests of the demo: its proofs, its report, and what it refuses."""
