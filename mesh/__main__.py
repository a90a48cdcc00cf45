"""`python -m mesh`: the local mesh."""

import sys

from mesh.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
