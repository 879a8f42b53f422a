"""The generator: a child process that sends one trial's operations."""
