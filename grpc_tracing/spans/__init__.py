"""Spans: the model, trees of them, and the formats that they come in. Pure."""
