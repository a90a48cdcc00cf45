"""One line per finished call on standard error: JSON for machines, text for people.

Lines are written by a thread of their own from a bounded queue: where nobody reads standard error, or its disk is full,
lines are lost and counted, and no call waits for them.
"""

import json
import logging
import logging.handlers
import os
import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from talk.config import Identity, LogFormat

_QUEUED_LINES: Final = 10_000
_CLOSING_SECONDS: Final = 1.0


class CallLog:
    """What the service says of its calls and of itself."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self.enabled = logger.isEnabledFor(logging.INFO)

    def event(self, event: str, **fields: Any) -> None:
        self._logger.info(event, extra={"fields": fields})

    def call(self, **fields: Any) -> None:
        """Fields: rpc, code, duration_ms, peer, messages_in, messages_out, trace_id."""
        self._logger.info("call", extra={"fields": fields})


@contextmanager
def open_log(identity: Identity, log_format: LogFormat) -> Iterator[CallLog]:
    """Sends the process's logging, gRPC's own included, to standard error in one format until the block ends."""
    lines: queue.Queue[logging.LogRecord] = queue.Queue(_QUEUED_LINES)
    writer = _Writer(sys.stderr.fileno())
    writer.setFormatter(_Text(identity.service) if log_format == "text" else _Json(identity.service))
    handler = _BoundedQueueHandler(lines)
    root, logger = logging.getLogger(), logging.getLogger("talk")
    root.addHandler(handler)
    logger.setLevel(logging.CRITICAL if log_format == "off" else logging.INFO)
    listener = logging.handlers.QueueListener(lines, writer)
    listener.start()
    try:
        yield CallLog(logger)
    finally:
        root.removeHandler(handler)
        with lines.all_tasks_done:
            written = lines.all_tasks_done.wait_for(lambda: not lines.unfinished_tasks, _CLOSING_SECONDS)
        if written:  # else nobody reads standard error, and the thread, a daemon, ends with the process
            listener.stop()


class _BoundedQueueHandler(logging.handlers.QueueHandler):
    """Never waits: a record that does not fit is dropped, and the next one that fits says how many were."""

    dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # it stays in this process: nothing to make picklable, formatting is the writer's

    def enqueue(self, record: logging.LogRecord) -> None:
        record.dropped = self.dropped
        try:
            self.queue.put_nowait(record)
            self.dropped = 0
        except queue.Full:
            self.dropped += 1


class _Writer(logging.Handler):
    """Writes to a file descriptor, unbuffered: a buffer's lock, held by a stalled write, would hang the exit."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def createLock(self) -> None:  # noqa: N802 (logging's name)
        self.lock = None  # one thread writes, and logging.shutdown must not wait for it

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record) + "\n"
        try:
            os.write(self._descriptor, line.encode())
        except OSError:
            return  # a full disk or a closed pipe: there is nowhere to say so


class _Formatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """What a line says, in order. Records of gRPC's own loggers carry text and perhaps a traceback."""
        own = getattr(record, "fields", None)
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "service": self._service,
        }
        if own is None:
            fields |= {
                "event": "message",
                "level": record.levelname,
                "logger": record.name,
                "text": super().format(record),
            }
        else:
            fields |= own if record.msg == "call" else {"event": record.msg, **own}
        if dropped := getattr(record, "dropped", 0):
            fields["lines_dropped_before"] = dropped
        return fields


class _Json(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self.fields(record))  # ASCII: no header value can break the line


class _Text(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = self.fields(record)
        head = [fields.pop("time"), fields.pop("service")]
        return " ".join(head + [f"{key}={_printable(value)}" for key, value in fields.items() if value != ""])


def _printable(value: Any) -> str:
    text = str(value)
    return text if text.isprintable() and " " not in text and text.isascii() else ascii(text)
