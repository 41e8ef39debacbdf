"""A stand-in for Mesos, for machines without its binaries: a master and an agent.

Held to recorded exchanges with real masters where anyone outside can tell the difference. What lies
between the stand-in's own processes (master to agent, replica to replica) is not Mesos' wire
format.
"""
