"""Looks after the pods and volumes of one workload on Kubernetes: replaces pods whose description
has changed in an order that the scheduler does not know, copies volumes on time, and gives and
takes votes of an ensemble's servers.

What is decided stands in `rolling`, `draining`, `copies` and `membership`, as pure functions.
"""
