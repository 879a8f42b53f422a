"""Generators on other machines: the run's side (crew, remote) and the workers' (agent)."""

PORT = 5557
"""Where a run listens for its workers, unless it is told."""
