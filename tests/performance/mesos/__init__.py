"""Measurements of Mesos: a batch framework, operator calls and agents at size."""
