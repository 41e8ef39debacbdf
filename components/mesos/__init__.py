"""Mesos: masters, agents, and the sample framework and clients that exercise a cluster."""
