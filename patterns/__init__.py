"""Patterns of service communication, one file each, over the order domain."""
