"""Small providers that stand in for downloaded ones, so that the real engine can run offline."""
