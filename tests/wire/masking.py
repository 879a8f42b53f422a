"""Takes out of an example what only this time and this machine have."""

import re

MASKS: tuple[tuple[str, str], ...] = (
    (r"(127\.0\.0\.1|localhost):\d+", r"\1:‹port›"),
    (r"\bexample-[0-9a-f]{12}\b", "example-‹id›"),
    (r"\b[0-9a-f]{64}\b", "‹64 hex digits›"),
    (r"\b[0-9a-f]{32}\b", "‹id›"),
    (r"\b(replies\.)[0-9a-f]{16}\b", r"\1‹id›"),
    (r"\b(ctag\d+\.)[0-9a-f]+", r"\1‹id›"),
    (r"((?:processed_ns|at_ns)\"?: ?\"?)\d+", r"\1‹ns›"),
    (r"(?im)^(date: ).*$", r"\1‹date›"),
    (r"(?im)^(webhook-timestamp: ).*$", r"\1‹seconds since 1970›"),
    (
        r"(?im)^(user-agent: grpc-[a-z-]+)/\S+ (grpc-[a-z]+)/\S+ \(.*\)$",
        r"\1/‹version› \2/‹version›",
    ),
    (r"(?m)^(Server: Python)/\S+ (aiohttp)/\S+$", r"\1/‹version› \2/‹version›"),
    (r"(producer id|correlation id) \d+", r"\1 ‹number›"),
    (r"((?:consumer_generation_id|group_generation_id): )\d+", r"\1‹number›"),
    (r"((?:consumer_id|member_id): ).*", r"\1‹id›"),
    (r"((?:offset|highwater_offset|last_stable_offset|log_start_offset): )\d+", r"\1‹offset›"),
)
"""Patterns and what stands for them."""


def masked(text: str) -> str:
    """A text without ports, ids, instants and versions."""
    for pattern, instead in MASKS:
        text = re.sub(pattern, instead, text)
    return text


def without_numbers(text: str) -> str:
    """For comparisons: lengths follow from how many digits an instant has."""
    return re.sub(r"\d+", "#", text)
