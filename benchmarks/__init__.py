"""Speed, as ratios of interleaved rounds on this machine. Run by hand on a quiet machine; never in
CI: `python3 -m benchmarks.NAME` with .venv's python.
"""
