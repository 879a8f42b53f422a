"""The parent's eyes: telemetry of processes, and the environment."""
