"""A client group that writes, and proves afterwards that nothing it was promised is missing."""
