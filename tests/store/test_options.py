"""Where the trace store listens when it is told nothing."""

from grpc_tracing.store.options import Address, parse


def test_the_standard_ports_on_the_loopback_and_no_other() -> None:
    options = parse([])
    assert [options.http, options.otlp_grpc, options.otlp_http, options.zipkin] == [
        Address("--http", "127.0.0.1", 16686),
        Address("--otlp-grpc", "127.0.0.1", 4317),
        Address("--otlp-http", "127.0.0.1", 4318),
        None,
    ]
