"""`python -m deploy apply|test [local|compose|k8s|asm] …`: what apply.sh and test.sh do."""

import sys

from deploy import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
