"""A section for each style."""
