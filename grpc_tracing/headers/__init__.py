"""Trace headers: which families there are, what their values mean, and which of them go on."""
