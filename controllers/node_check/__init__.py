"""Looks at a node before an agent starts there, and refuses one that is not fit, with the reason.

Runs in front of each agent's pod: an agent that starts on such a node fails later and says less.
"""
