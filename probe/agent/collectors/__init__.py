"""What can be seen on a node, one file a source. Each is loaded on its first use."""
