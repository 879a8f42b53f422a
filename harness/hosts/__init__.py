"""Generators on other machines: the run's side (crew, remote) and the workers' (agent)."""
