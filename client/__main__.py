"""`python -m client`."""

import os
import sys

# gRPC's C core would print its own words on a failed handshake; the requester says it in one line.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from client.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
