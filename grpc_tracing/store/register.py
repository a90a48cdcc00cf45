"""Which traces belong to one call: those that share a request id, and those that a requester noted together."""

from collections import defaultdict
from collections.abc import Iterable

from grpc_tracing.store.calls import Call
from grpc_tracing.store.summary import Summary

# More traces share a request id only where a caller sends the same one always: they are no pieces of one call.
_MOST_PIECES = 100


class Register:
    """Filled and emptied a trace at a time. `paired` are pieces whose call is known: the rest of no other call."""

    def __init__(self, summaries: Iterable[Summary] = (), calls: Iterable[Call] = ()) -> None:
        """`calls` newest first."""
        self.by_id: dict[str, Summary] = {}
        self.paired: set[str] = set()
        self._members: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._noted: dict[str, Call] = {}
        for call in reversed(tuple(calls)):
            self.note(call)
        for summary in summaries:
            self.take(summary)

    def take(self, summary: Summary) -> None:
        """In place of what was known of this trace."""
        self.drop(summary.trace_id)
        self.by_id[summary.trace_id] = summary
        for key in _request_keys(summary):
            self._members[key][summary.trace_id] = None

    def drop(self, trace_id: str) -> None:
        summary = self.by_id.pop(trace_id, None)
        self.paired.discard(trace_id)
        for key in _request_keys(summary) if summary else ():
            del self._members[key][trace_id]
            if not self._members[key]:
                del self._members[key]

    def note(self, call: Call) -> list[str]:
        """The newest note wins; gives the traces here that it speaks of."""
        keys = (*call.trace_ids, f"request {call.request_id}" if call.request_id else "")
        self._noted |= dict.fromkeys(keys, call)
        spoken = [*call.trace_ids, *self._members.get(keys[-1], ())]
        return [trace_id for trace_id in spoken if trace_id in self.by_id]

    def call(self, summary: Summary) -> Call | None:
        """What its requester noted of it."""
        keys = (summary.trace_id, *_request_keys(summary))
        return next((self._noted[key] for key in keys if key in self._noted), None)

    def group(self, summary: Summary) -> tuple[Summary, ...]:
        """The traces of its call, the earliest first; itself too."""
        found = {summary.trace_id: None}
        for key in _request_keys(summary):
            if len(self._members[key]) <= _MOST_PIECES:
                found |= self._members[key]
        if summary.trace_id in self._noted:
            found |= dict.fromkeys(self._noted[summary.trace_id].trace_ids)
        return tuple(sorted((self.by_id[one] for one in found if one in self.by_id), key=lambda one: one.start_ns))

    def pair(self, summary: Summary) -> None:
        """Sets whether it is paired: begun by a service that another trace of its call entered."""
        begun = {one.service for one in summary.calls.begun}
        others = (other for other in self.group(summary) if other is not summary) if begun else ()
        if any(entry.service in begun for other in others for entry in other.calls.entries):
            self.paired.add(summary.trace_id)
        else:
            self.paired.discard(summary.trace_id)


def _request_keys(summary: Summary) -> list[str]:
    return [f"request {request_id}" for request_id in summary.request_ids]
