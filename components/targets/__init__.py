"""Where workloads run: as processes of this machine (`local`) or as Kubernetes objects."""
