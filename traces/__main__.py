"""`python -m traces`: the trace store. It serves until SIGTERM; exit code 2 where it cannot start."""

import sys

import uvloop

from traces.options import parse
from traces.server import TakenError, run


def main() -> int:
    options = parse(sys.argv[1:])
    try:
        uvloop.run(run(options))
    except TakenError as error:
        print(f"traces: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
