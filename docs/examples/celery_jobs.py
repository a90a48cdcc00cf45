"""Jobs of Celery: the headers travel beside the task's arguments, and the worker makes its calls with them.

`python -m docs.examples.celery_jobs` begins a job inside a call, and prints what its calls would carry.
"""

# mypy: disable-error-code="untyped-decorator"

import json
from typing import Any

from celery import Celery
from celery.contrib.testing.worker import start_worker

from grpc_tracing.propagation import outgoing, serving

app = Celery(broker="memory://", backend="cache+memory://")


@app.task(bind=True)
def job(self: Any) -> list[list[str]]:
    with serving(self.request.headers["trace"]):
        return [[key, str(value)] for key, value in outgoing()]


def begin() -> Any:
    """To be called while a call is served. `-bin` values stay behind, for JSON has no bytes."""
    return job.apply_async(headers={"trace": [pair for pair in outgoing() if isinstance(pair[1], str)]})


def main() -> None:
    with start_worker(app, perform_ping_check=False, pool="solo"):
        with serving((("traceparent", "00-1-2-01"), ("baggage", "a=1"), ("baggage", "b=2"))):
            begun = begin()
        print(json.dumps(begun.get(timeout=20)))  # noqa: T201


if __name__ == "__main__":
    main()
