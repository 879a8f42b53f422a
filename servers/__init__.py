"""The order service behind each style: one file a style, named like it."""
