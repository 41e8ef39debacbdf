"""Networks of containers on an agent's node: plugins and files where the agent looks for them, and
what overlays need of the node besides.

Runs in front of an agent and stays beside it: nodes come and go, and each overlay has to know.
"""
