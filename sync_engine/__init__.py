"""Keeps subtrees of two ZooKeeper ensembles equal; knows nothing of Mesos, Pulumi or colours."""
