"""The commands of `grpc-tracing` that read spans."""
