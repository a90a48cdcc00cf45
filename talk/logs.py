"""One line per finished call on standard error: JSON for machines, text for people.

Lines are written by a thread of their own from a bounded queue: where nobody reads standard error, or its disk is full,
lines are lost and counted, and no call waits for them.
"""

import contextlib
import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any, Final, TypeAlias

from talk.config import Identity, LogFormat

_STANDARD_ERROR: Final = 2
_QUEUED_LINES: Final = 10_000
_BATCH_SECONDS: Final = 0.02
_CLOSING_SECONDS: Final = 1.0

_HEAD: Final = ("time", "service")

Fields: TypeAlias = dict[str, Any]
Line: TypeAlias = tuple[float, Fields]
"""Unix time in seconds, and what is said, in order."""
Lines: TypeAlias = "queue.SimpleQueue[Line | None]"


class CallLog:
    """What the service says of its calls and of itself; a line that does not fit is dropped and counted."""

    def __init__(self, lines: Lines, *, enabled: bool) -> None:
        self._lines = lines
        self._dropped = 0
        self.enabled = enabled

    def event(self, event: str, **fields: Any) -> None:
        if self.enabled:
            self.call(event=event, **fields)

    def call(self, **fields: Any) -> None:
        """Fields: rpc, code, duration_ms, peer, messages_in, messages_out, trace_id."""
        if self._lines.qsize() >= _QUEUED_LINES:
            self._dropped += 1
            return
        if self._dropped:
            fields["lines_dropped_before"], self._dropped = self._dropped, 0
        self._lines.put((time.time(), fields))


@contextlib.contextmanager
def open_log(identity: Identity, log_format: LogFormat) -> Iterator[CallLog]:
    """Sends calls, events and what gRPC itself logs to standard error, in one format, until the block ends."""
    lines: Lines = queue.SimpleQueue()
    log = CallLog(lines, enabled=log_format != "off")
    handler = _LibraryHandler(CallLog(lines, enabled=True))
    writer = _Writer(lines, _text if log_format == "text" else _json, identity.service)
    logging.getLogger().addHandler(handler)
    writer.start()
    try:
        yield log
    finally:
        logging.getLogger().removeHandler(handler)
        lines.put(None)
        writer.join(_CLOSING_SECONDS)  # where nobody reads standard error, the daemon thread ends with the process


class _LibraryHandler(logging.Handler):
    """What libraries log becomes a line like all others, a traceback included where the fault may be ours."""

    def __init__(self, log: CallLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError):
            record.exc_info = record.exc_text = None  # a caller's header that is no UTF-8 says nothing of our code
        self._log.event("message", level=record.levelname, logger=record.name, text=self.format(record))


class _Writer(threading.Thread):
    """Writes batches to standard error's descriptor: a buffer's lock, held by a stalled write, would hang the exit."""

    def __init__(self, lines: Lines, to_text: Callable[[Fields], str], service: str) -> None:
        super().__init__(name="log", daemon=True)
        self._lines = lines
        self._to_text = to_text
        self._service = service

    def run(self) -> None:
        while batch := self._next_batch():
            with contextlib.suppress(OSError):  # a full disk or a closed pipe: there is nowhere to say so
                os.write(_STANDARD_ERROR, "".join(map(self._line, batch)).encode())
            # One wake-up for many lines: one for each cost a third of a hop's CPU.
            time.sleep(_BATCH_SECONDS)

    def _next_batch(self) -> list[Line]:
        """Waits for a line and takes what else there is; empty once the log is closed."""
        batch = [self._lines.get()]
        while batch[-1] is not None and not self._lines.empty():
            batch.append(self._lines.get())
        if batch[-1] is None and len(batch) > 1:
            self._lines.put(None)
        return [line for line in batch if line is not None]

    def _line(self, line: Line) -> str:
        when, fields = line
        time_text = f"{_second(int(when))}.{int(when % 1 * 1000):03d}+00:00"
        return self._to_text({"time": time_text, "service": self._service, **fields}) + "\n"


@lru_cache(maxsize=1)
def _second(when: int) -> str:
    """Unix time in seconds as UTC's date and time: many lines share theirs."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _json(fields: Fields) -> str:
    """As `json.dumps` writes it, which makes an encoder anew for each line and takes twice as long."""
    return "{" + ", ".join([f'"{key}": {_json_value(value)}' for key, value in fields.items()]) + "}"


def _json_value(value: Any) -> str:
    if isinstance(value, str):
        return encode_basestring_ascii(value)  # ASCII: no header value can break the line
    return repr(value) if type(value) in (int, float) else json.dumps(value)


def _text(fields: Fields) -> str:
    said = [f"{key}={_printable(value)}" for key, value in fields.items() if key not in _HEAD and value != ""]
    return " ".join([fields["time"], fields["service"], *said])


def _printable(value: Any) -> str:
    text = str(value)
    return text if text.isprintable() and " " not in text and text.isascii() else ascii(text)
