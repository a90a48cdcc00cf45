"""Peers that break the rules of HTTP/2 and gRPC, at a service and at the ingress."""
