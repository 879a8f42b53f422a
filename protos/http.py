"""Paths and media types of the HTTP styles."""

ORDERS_PATH = "/orders"
JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
