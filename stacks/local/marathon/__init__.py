"""A stand-in for Marathon 1.10, on machines that have no JVM, libmesos or Marathon.

It is a framework of the v1 scheduler API with Marathon's REST v2 interface, its deployments and its
dangerous habits. What is known to differ from the real one stands in docs/stand-ins.md.
"""
