"""The one-machine rig, with a real ZooKeeper."""
