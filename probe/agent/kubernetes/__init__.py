"""What a Kubernetes API server knows: read by list and watch, told as rows."""
