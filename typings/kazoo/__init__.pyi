"""What this project uses of kazoo 2.11, which has no types of its own."""
