"""A gRPC call on bytes, for whoever makes one: channel settings, targets, metadata, request streams."""
