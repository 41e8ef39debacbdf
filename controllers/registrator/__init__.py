"""Keeps Consul's catalog equal to what runs of Marathon's apps, so that Consul answers for them.

A bridge between a scheduler and a registry, as Registrator, mesos-consul and Nomad have it; not the
registrar of a Mesos master. `entries` reads apps, `plan` compares, both pure; `driver` follows
Marathon and makes the calls. docs/registrator.md lists names and labels.
"""
