"""What can be asked of a driver: one file an operation."""
