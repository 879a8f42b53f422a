"""What can be wrong with an order. `code` is the error's one name in every style and protocol."""

from typing import ClassVar


class OrderError(Exception):
    """An order that the service refuses; `detail` says why in words for the sender."""

    code: ClassVar[str] = "internal"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class MalformedOrder(OrderError):
    """The bytes do not hold an order at all."""

    code = "malformed"


class InvalidOrder(OrderError):
    """An order whose content breaks the shop's rules."""

    code = "invalid_order"


class KeyConflict(OrderError):
    """An idempotency key that was used before, for another order."""

    code = "key_conflict"


class UnknownOrder(OrderError):
    """An order id that the service did not give."""

    code = "unknown_order"
