"""P2: a trial's client spans, made from its samples when the load is over.

Imports OpenTelemetry: only a generator that traces imports this.
"""

import itertools
import logging
import time
from collections.abc import Iterator

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from clients import catalog
from harness.load.contexts import Contexts
from harness.load.messages import TrialSpec
from harness.results import DONE, OUTCOMES, TIMEOUT, Samples
from protos.spans import exporter_for

log = logging.getLogger(__name__)

BATCH = 512
WRITE_LIMIT_S = 30.0
SAMPLED = TraceFlags(TraceFlags.SAMPLED)


def write_spans(dest: str, spec: TrialSpec, contexts: Contexts, samples: Samples) -> None:
    """Hand a client span for every operation on to `dest` (see exporter_for). What cannot be
    handed on, or not in WRITE_LIMIT_S, is logged and given up: a trial does not fail by it."""
    to_wall_ns = time.time_ns() - time.monotonic_ns()
    try:
        exporter = exporter_for(dest)
    except OSError as error:
        log.error("no spans: %s", error)
        return
    spans = client_spans(spec, contexts, samples, to_wall_ns)
    written = 0
    end = time.monotonic() + WRITE_LIMIT_S
    while batch := list(itertools.islice(spans, BATCH)):
        late = time.monotonic() > end
        if late or exporter.export(batch) is not SpanExportResult.SUCCESS:
            log.error("only %d of %d spans went to %s", written, len(samples), dest)
            break
        written += len(batch)
    exporter.shutdown()


def client_spans(
    spec: TrialSpec, contexts: Contexts, samples: Samples, to_wall_ns: int
) -> Iterator[ReadableSpan]:
    """A span for every operation, from `planned` to `done`, under the ids that it had on the wire.

    An operation without an answer ends at its timeout, or at the last instant that is known of it.
    `to_wall_ns` makes Unix time of the samples' clock.
    """
    resource = Resource.create({"service.name": "orderbench-generator"})
    style = next((e.style for e in catalog.ENTRIES if e.driver == spec.driver), spec.driver)
    timeout_ns = round(spec.timeout_s * 1e9)
    rows = zip(
        samples.planned.tolist(),
        samples.sent.tolist(),
        samples.acked.tolist(),
        samples.processed.tolist(),
        samples.done.tolist(),
        samples.lane.tolist(),
        samples.outcome.tolist(),
        strict=True,
    )
    numbered = zip(samples.numbers.tolist(), rows, strict=True)
    for operation, (planned, sent, acked, processed, done, lane, outcome) in numbered:
        reached = [("sent", sent), ("acked", acked), ("processed", processed)]
        end = done or (sent + timeout_ns if outcome == TIMEOUT else max(planned, sent, acked))
        yield ReadableSpan(
            spec.operation,
            context=SpanContext(
                int(contexts.trace_id(operation), 16),
                int(contexts.span_id(operation), 16),
                is_remote=False,
                trace_flags=SAMPLED,
            ),
            resource=resource,
            attributes={
                "cell": spec.cell,
                "style": style,
                "lane": lane,
                "outcome": OUTCOMES[outcome],
            },
            events=[Event(name, timestamp=at + to_wall_ns) for name, at in reached if at],
            kind=SpanKind.CLIENT,
            status=Status(StatusCode.UNSET if outcome == DONE else StatusCode.ERROR),
            start_time=planned + to_wall_ns,
            end_time=end + to_wall_ns,
        )
