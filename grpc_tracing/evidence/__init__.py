"""What shows that a call's trace is whole: hop records, spans, and what was sent. Pure."""
