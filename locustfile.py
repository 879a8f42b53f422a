"""Locust's door: `locust -f locustfile.py`, or `python3 bench.py locust`, which prepares it."""

from harness.swarm import site  # noqa: F401
from harness.swarm.engine import Token, WhileTheRunLasts

__all__ = ["Token", "WhileTheRunLasts"]
