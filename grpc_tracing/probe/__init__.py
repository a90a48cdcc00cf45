"""One call of anybody's method, and what it shows: descriptors, JSON messages, the call, its spans, its cuts."""
