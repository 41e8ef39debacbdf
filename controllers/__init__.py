"""What keeps acting beside a cluster. No Pulumi: these run as processes of their own."""
