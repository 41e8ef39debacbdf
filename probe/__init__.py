"""The probe: what runs on a node, and what talks to what, inside a budget."""
