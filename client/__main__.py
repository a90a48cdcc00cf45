"""`python -m client`."""

import io
import os
import sys

# gRPC's C core would print its own words on a failed handshake; the requester says it in one line.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from client.cli import main

if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without UTF-8 must not end it
    sys.exit(main(sys.argv[1:]))
