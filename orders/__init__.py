"""The order domain: what is asked of every style. Imports nothing else of this project."""
