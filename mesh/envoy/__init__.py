"""Envoy: its configuration from the topology, its binary, its admin interface.

What each setting is there for stands beside it; all of it was seen on Envoy 1.40.
"""
