"""Paths, headers and media types of the HTTP styles."""

ORDERS_PATH = "/orders"
CHANGES_PATH = "/changes"
"""Orders that were confirmed, for who watches by polling or by an event stream."""
EVENTS_PATH = "/events"
"""A client's own results, as an event stream."""
CALLBACKS_PATH = "/callbacks"
"""Where results are called back to."""

PROBLEM_JSON = "application/problem+json"
EVENT_STREAM = "text/event-stream"

REQUEST_ID = "X-Request-ID"
TRACEPARENT = "traceparent"
STREAM = "X-Event-Stream"
"""With an order: the event stream that its result shall go to."""
CALLBACK = "X-Callback"
"""With an order: the registered callback that its result shall go to."""
