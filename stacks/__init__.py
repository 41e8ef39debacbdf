"""Compose: what the clusters are now, and what they should be next."""
