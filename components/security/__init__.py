"""Where secrets and certificates come from: references alone, never a value."""
