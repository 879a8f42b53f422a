"""Pure functions from samples to a Summary."""
