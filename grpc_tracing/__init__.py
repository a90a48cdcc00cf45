"""Trace propagation for gRPC: header rules, calls on bytes, spans, evidence, and a trace store."""
