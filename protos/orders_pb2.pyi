from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATUS_UNSPECIFIED: _ClassVar[Status]
    STATUS_RECEIVED: _ClassVar[Status]
    STATUS_CONFIRMED: _ClassVar[Status]
    STATUS_WORKING: _ClassVar[Status]
STATUS_UNSPECIFIED: Status
STATUS_RECEIVED: Status
STATUS_CONFIRMED: Status
STATUS_WORKING: Status

class Item(_message.Message):
    __slots__ = ("sku", "quantity", "unit_price_cents")
    SKU_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    UNIT_PRICE_CENTS_FIELD_NUMBER: _ClassVar[int]
    sku: str
    quantity: int
    unit_price_cents: int
    def __init__(self, sku: _Optional[str] = ..., quantity: _Optional[int] = ..., unit_price_cents: _Optional[int] = ...) -> None: ...

class Order(_message.Message):
    __slots__ = ("idempotency_key", "customer_id", "items", "attachment", "work_us")
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_FIELD_NUMBER: _ClassVar[int]
    WORK_US_FIELD_NUMBER: _ClassVar[int]
    idempotency_key: str
    customer_id: str
    items: _containers.RepeatedCompositeFieldContainer[Item]
    attachment: bytes
    work_us: int
    def __init__(self, idempotency_key: _Optional[str] = ..., customer_id: _Optional[str] = ..., items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., attachment: _Optional[bytes] = ..., work_us: _Optional[int] = ...) -> None: ...

class Confirmation(_message.Message):
    __slots__ = ("order_id", "idempotency_key", "status", "total_cents", "processed_ns")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_CENTS_FIELD_NUMBER: _ClassVar[int]
    PROCESSED_NS_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    idempotency_key: str
    status: Status
    total_cents: int
    processed_ns: int
    def __init__(self, order_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., status: _Optional[_Union[Status, str]] = ..., total_cents: _Optional[int] = ..., processed_ns: _Optional[int] = ...) -> None: ...

class Update(_message.Message):
    __slots__ = ("order_id", "idempotency_key", "status", "progress", "at_ns", "total_cents", "attachment")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    AT_NS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_CENTS_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    idempotency_key: str
    status: Status
    progress: int
    at_ns: int
    total_cents: int
    attachment: bytes
    def __init__(self, order_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., status: _Optional[_Union[Status, str]] = ..., progress: _Optional[int] = ..., at_ns: _Optional[int] = ..., total_cents: _Optional[int] = ..., attachment: _Optional[bytes] = ...) -> None: ...

class Changes(_message.Message):
    __slots__ = ("last", "updates")
    LAST_FIELD_NUMBER: _ClassVar[int]
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    last: int
    updates: _containers.RepeatedCompositeFieldContainer[Update]
    def __init__(self, last: _Optional[int] = ..., updates: _Optional[_Iterable[_Union[Update, _Mapping]]] = ...) -> None: ...

class Problem(_message.Message):
    __slots__ = ("code", "detail")
    CODE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    code: str
    detail: str
    def __init__(self, code: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class Watch(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RequestFrame(_message.Message):
    __slots__ = ("id", "order", "watch", "request_id", "traceparent")
    ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    WATCH_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    id: int
    order: Order
    watch: Watch
    request_id: str
    traceparent: str
    def __init__(self, id: _Optional[int] = ..., order: _Optional[_Union[Order, _Mapping]] = ..., watch: _Optional[_Union[Watch, _Mapping]] = ..., request_id: _Optional[str] = ..., traceparent: _Optional[str] = ...) -> None: ...

class ReplyFrame(_message.Message):
    __slots__ = ("id", "confirmation", "problem", "update")
    ID_FIELD_NUMBER: _ClassVar[int]
    CONFIRMATION_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    id: int
    confirmation: Confirmation
    problem: Problem
    update: Update
    def __init__(self, id: _Optional[int] = ..., confirmation: _Optional[_Union[Confirmation, _Mapping]] = ..., problem: _Optional[_Union[Problem, _Mapping]] = ..., update: _Optional[_Union[Update, _Mapping]] = ...) -> None: ...
