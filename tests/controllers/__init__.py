"""What keeps acting beside a cluster."""
