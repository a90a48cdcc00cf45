"""Holds a service to it that trace headers go on: a last hop, a caller, and what they compare.

Installed, it is a plugin of pytest with the fixtures `trace_leaf` and `check_propagation`.
"""

from grpc_tracing.testing.check import check_propagation
from grpc_tracing.testing.leaf import Leaf
from grpc_tracing.testing.methods import Method, stream_stream, stream_unary, unary_stream, unary_unary

__all__ = ["Leaf", "Method", "check_propagation", "stream_stream", "stream_unary", "unary_stream", "unary_unary"]
