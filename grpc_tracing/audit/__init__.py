"""Which service cuts the traces, read from spans alone. Pure."""
