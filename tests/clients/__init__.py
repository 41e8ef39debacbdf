"""Clients, against recorded exchanges."""
