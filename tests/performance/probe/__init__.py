"""What the probe costs and finds: scenarios that it is measured in."""
