"""`python -m grpc_tracing`, the same as `grpc-tracing`."""

import sys

from grpc_tracing.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
