import sys
from pathlib import Path

from talk.start import main

if __name__ == "__main__":
    sys.exit(main(Path(__file__).with_name("service.yaml")))
