"""The registrator."""
