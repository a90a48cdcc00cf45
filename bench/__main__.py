"""What the chain costs. ``python -m bench [PART…] [--quick]``: into bench/results and bench/README.md."""

import argparse
import os
import sys
import time
from pathlib import Path

import uvloop

from bench import table
from bench.chains import machine
from bench.parts import FULL, PARTS, QUICK, Scale

HERE = Path(__file__).parent
RESULTS = HERE / "results"
README = HERE / "README.md"

# In the order in which the README shows them.
NAMES = (
    "hop",
    "settings",
    "interceptors",
    "peers",
    "steps",
    "modes",
    "growth-hops",
    "growth-concurrency",
    "growth-bytes",
    "growth-headers",
    "growth-server",
    "growth-bidirectional",
    "start",
    "wholeness",
    "trace-page",
)
_BEGIN, _END = "<!-- tables -->\n", "<!-- end of tables -->"


async def run(parts: list[str], scale: Scale, command: str) -> None:
    for name in parts:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        facts, began = machine() | {"command": command}, time.monotonic()
        for found in await PARTS[name](scale):
            facts["load_after"] = [round(one, 2) for one in os.getloadavg()]
            found.write(RESULTS, facts)
            print(found.markdown(facts), flush=True)
        print(f"{name} took {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def write_readme() -> None:
    """Put the last figures of every table between the README's marks."""
    tables = [table.read(path) for name in NAMES if (path := RESULTS / f"{name}.json").exists()]
    text = README.read_text()
    before, after = text.partition(_BEGIN)[0], text.partition(_END)[2]
    README.write_text(before + _BEGIN + "\n" + "\n".join(one.markdown(facts) for one, facts in tables) + _END + after)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, shorter streams: under three minutes")
    options = parser.parse_args()
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"no part {unknown[0]}: there are {', '.join(PARTS)}")
    parts = options.parts or list(PARTS)
    command = " ".join(["python -m bench", *options.parts, *(["--quick"] if options.quick else [])])
    RESULTS.mkdir(exist_ok=True)
    uvloop.run(run(parts, QUICK if options.quick else FULL, command))
    write_readme()


if __name__ == "__main__":
    main()
