"""A Kubernetes API server as the small provider talks to it: by server-side apply."""
