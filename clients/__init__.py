"""The client side of each style: drivers, and the catalog that says which exist."""
