"""Looks after the pods and volumes of one workload on Kubernetes: replaces pods whose description
has changed in an order that the scheduler does not know, and copies volumes on time.

What is decided stands in `rolling`, `draining` and `copies`, as pure functions.
"""
