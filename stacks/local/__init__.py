"""One machine's rig: stand-in Mesos, ZooKeeper's launcher, sample framework, traffic."""
