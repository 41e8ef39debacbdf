"""The sync engine, against real ZooKeeper servers."""
