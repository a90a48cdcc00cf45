"""The trace store: OTLP and Zipkin spans in, Jaeger's query API and pages out, within a bounded memory."""
