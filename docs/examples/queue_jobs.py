"""Jobs in a queue: the headers travel in the message, and the worker makes its calls with them.

celery_jobs.py is the same with Celery.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from grpc_tracing.propagation import outgoing, serving


def message(body: str) -> str:
    """What goes into the queue; `-bin` values stay behind, for JSON has no bytes."""
    return json.dumps({"headers": [pair for pair in outgoing() if isinstance(pair[1], str)], "body": body})


def work(text: str, job: Callable[[str], None]) -> None:
    """What the worker does with a message: as late as it is, the job belongs to the call that asked for it."""
    taken = json.loads(text)
    with serving([(key, value) for key, value in taken["headers"]]):
        job(taken["body"])
