"""The sample framework: keeps a number of long-running tasks, and moves them when asked."""
