"""P2: where spans go, for all who make them: a file, or a collector that speaks OTLP over HTTP.

Imports OpenTelemetry: only who traces imports this.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import format_span_id, format_trace_id

log = logging.getLogger(__name__)

EXPORT_LIMIT_S = 2.0
"""How long a collector may take for one batch, second attempts included."""
TRACES_PATH = "/v1/traces"
"""OTLP/HTTP's own (OTLP 1.0, section OTLP/HTTP Request)."""


def exporter_for(dest: str) -> SpanExporter:
    """What hands spans on to `dest`: `http://host:4318`, or the path of a file to append to.

    An address without a path gets TRACES_PATH. Raises OSError when the file cannot be opened.
    """
    if not dest.startswith(("http://", "https://")):
        return SpanFile(Path(dest))
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    endpoint = dest if urlsplit(dest).path.strip("/") else dest.rstrip("/") + TRACES_PATH
    return OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_LIMIT_S)


class SpanFile(SpanExporter):
    """JSON lines, a span each: trace_id, span_id and parent_id (null for a root) in hexadecimal
    digits, name, kind, service, start_ns and end_ns (Unix time), status, attributes, and events of
    name and at_ns.

    Several processes may append to one file: each batch is one write to its end.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append spans; what cannot be written is logged."""
        lines = b"".join(orjson.dumps(_fields(s), option=orjson.OPT_APPEND_NEWLINE) for s in spans)
        try:
            written = os.write(self._file, lines)
        except OSError as error:
            log.error("%s: %s", self._path, error)
            return SpanExportResult.FAILURE
        if written < len(lines):
            log.error("%s: %d of %d bytes were written", self._path, written, len(lines))
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file."""
        os.close(self._file)


def _fields(span: ReadableSpan) -> dict[str, Any]:
    context = span.context
    return {
        "trace_id": format_trace_id(context.trace_id),
        "span_id": format_span_id(context.span_id),
        "parent_id": None if span.parent is None else format_span_id(span.parent.span_id),
        "name": span.name,
        "kind": span.kind.name,
        "service": span.resource.attributes.get("service.name"),
        "start_ns": span.start_time,
        "end_ns": span.end_time,
        "status": span.status.status_code.name,
        "attributes": dict(span.attributes or {}),
        "events": [{"name": event.name, "at_ns": event.timestamp} for event in span.events],
    }
