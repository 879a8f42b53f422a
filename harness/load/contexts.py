"""What accompanies the orders of one trial: request ids (P1), trace contexts (P2)."""

import secrets
from dataclasses import dataclass

from protos.context import NOTHING, Context


@dataclass(frozen=True, slots=True)
class Contexts:
    """Makes an operation's context from its number, so that nothing has to be kept while load runs.

    A retry of an operation has the context that its first attempt had.
    """

    request_ids: bool
    traces: bool
    salt: str

    @classmethod
    def fresh(cls, request_ids: bool, traces: bool) -> "Contexts":
        """Contexts unlike those of any other trial."""
        return cls(request_ids, traces, secrets.token_hex(8))

    def of(self, operation: int) -> Context:
        """The context of operation number `operation`."""
        if not (self.request_ids or self.traces):
            return NOTHING
        return Context(
            f"{self.salt}-{operation}" if self.request_ids else "",
            f"00-{self.trace_id(operation)}-{self.span_id(operation)}-01" if self.traces else "",
        )

    def trace_id(self, operation: int) -> str:
        """32 hexadecimal digits."""
        return f"{self.salt}{operation:016x}"

    def span_id(self, operation: int) -> str:
        """16 hexadecimal digits, not all zero."""
        return f"{operation + 1:016x}"
