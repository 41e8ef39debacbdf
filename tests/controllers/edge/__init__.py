"""The edge: labels, configurations, and a real HAProxy under load."""
