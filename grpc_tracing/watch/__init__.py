"""The audit all year: spans in, a window judged at each step, metrics out."""
