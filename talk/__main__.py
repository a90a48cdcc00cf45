"""`python -m talk`: the Talk service with the facts of TALK_* variables, or of the file that TALK_CONFIG names."""

import sys

from talk.start import main

if __name__ == "__main__":
    sys.exit(main(None))
