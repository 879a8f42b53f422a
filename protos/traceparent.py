"""The traceparent header of W3C Trace Context, level 1 (Recommendation of 6 February 2020)."""

import re
from dataclasses import dataclass
from typing import Self

_FORM = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<further>-.*)?",
    re.DOTALL,
)
_SAMPLED = 0x01


@dataclass(frozen=True, slots=True)
class Traceparent:
    """A span as its callees hear of it. `str` of it is the header, in version 00."""

    trace_id: int
    """128 bits, not 0."""
    span_id: int
    """64 bits, not 0; the specification's parent-id."""
    sampled: bool

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """What a header says, or None where it is absent or invalid, so that a new trace begins.

        Of a later version only what version 00 has is read (section 3.2.4); of the flags only
        whether the caller may have recorded.
        """
        form = _FORM.fullmatch(text)
        if form is None or form["version"] == "ff":
            return None
        if form["version"] == "00" and form["further"] is not None:
            return None
        trace_id, span_id = int(form["trace"], 16), int(form["parent"], 16)
        if trace_id == 0 or span_id == 0:
            return None
        return cls(trace_id, span_id, bool(int(form["flags"], 16) & _SAMPLED))

    def __str__(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{self.sampled:02x}"
