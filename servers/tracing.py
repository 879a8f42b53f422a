"""P2: what a server does for an order, as spans under its client's trace (W3C Trace Context).

Imports OpenTelemetry: only a server that traces imports this.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags

from orders.model import Update
from orders.service import Notify
from protos.problems import problem_of
from protos.spans import exporter_for
from protos.traceparent import Traceparent

log = logging.getLogger(__name__)

QUEUE_LIMIT = 16_384
"""Spans that may wait for their export; the oldest beyond it are dropped, which is logged."""
BATCH = 512
EVERY_MS = 1000
FLUSH_LIMIT_S = 3.0
"""How long a server that stops waits for who takes its spans."""


class Tracer:
    """Spans of one server, exported by a thread of its own."""

    def __init__(self, style: str, dest: str) -> None:
        """See exporter_for for `dest`. Raises OSError."""
        batches = BatchSpanProcessor(
            exporter_for(dest),
            max_queue_size=QUEUE_LIMIT,
            schedule_delay_millis=EVERY_MS,
            max_export_batch_size=BATCH,
        )
        self._provider = TracerProvider(
            ParentBased(ALWAYS_ON),
            Resource.create({"service.name": f"orderbench-{style}"}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(batches)
        self._tracer = self._provider.get_tracer("orderbench")
        self._works: dict[str, trace.Span] = {}

    @contextmanager
    def span(self, name: str, traceparent: str) -> Iterator[str]:
        """A span over what happens inside, below the client's, or the first of a new trace where
        there is no valid one; gives its own traceparent, for what is called from here."""
        span = self._begin(name, traceparent, SpanKind.SERVER)
        try:
            yield _traceparent(span)
        except BaseException as error:
            code = problem_of(error).code if isinstance(error, Exception) else "cancelled"
            span.set_attribute("error.type", code)
            span.set_status(StatusCode.ERROR)
            raise
        finally:
            span.end()

    def work(self, order_id: str, traceparent: str) -> Notify | None:
        """Begin the span of the work on an accepted order, below that of `traceparent`; it ends
        with the final update that the returned function is given. None: it has begun before."""
        if order_id in self._works:
            return None
        span = self._works[order_id] = self._begin("work", traceparent, SpanKind.INTERNAL)

        def heard(update: Update) -> None:
            if update.final:
                del self._works[order_id]
                span.end()

        return heard

    def traceparent_of(self, order_id: str) -> str | None:
        """The traceparent of the work on an order, while it goes on."""
        span = self._works.get(order_id)
        return None if span is None else _traceparent(span)

    def close(self) -> None:
        """End what is under way and hand over what waits; gives up after FLUSH_LIMIT_S."""
        for span in self._works.values():
            span.set_status(StatusCode.ERROR, "the server stopped")
            span.end()
        flushing = threading.Thread(target=self._provider.shutdown, daemon=True)
        flushing.start()
        flushing.join(FLUSH_LIMIT_S)
        if flushing.is_alive():
            log.warning("spans were lost: nobody took them in %g s", FLUSH_LIMIT_S)

    def _begin(self, name: str, traceparent: str, kind: SpanKind) -> trace.Span:
        above = Context()
        parent = Traceparent.parse(traceparent)
        if parent is not None:
            flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
            remote = SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)
            above = trace.set_span_in_context(NonRecordingSpan(remote), above)
        return self._tracer.start_span(name, above, kind)


def _traceparent(span: trace.Span) -> str:
    context = span.get_span_context()
    return str(Traceparent(context.trace_id, context.span_id, context.trace_flags.sampled))
