"""Audits by Spark, one after the other on one cluster: `python -m tests.engines.spark_audits MASTER`.

It answers each path of a Parquet file, a line, with the result in JSON, a line. It runs where pyspark is.
"""

from __future__ import annotations

import json
import sys

from grpc_tracing.audit.judge import judge
from grpc_tracing.engines import evidence, spark

MEMORY = 1024**3
ROWS = 100_000


def main() -> None:
    with spark.opened([], ROWS, sys.argv[1], MEMORY) as engine:
        for line in sys.stdin:
            engine.files = [line.rstrip("\n")]
            found = judge(evidence.collect(engine)).document()
            sys.stdout.write(json.dumps(found) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
