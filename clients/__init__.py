"""Typed asynchronous clients of the systems that the platform drives. No state, no Pulumi.

Re-exported for short imports: `from clients.mesos import OperatorClient`.
"""
