"""The notes: what is worth telling of a call or a run and breaks nothing.

A note is an entry of the table, and docs/troubleshooting.md has a row for each under the same words. `{…}` are the
facts of one note.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NewType

Note = NewType("Note", str)
"""Made by `note` alone."""

NOTES: Final[Mapping[str, str]] = {
    # Of the path.
    "no-record": "{hop} left no record: unknown",
    "none-reached": "no hop left a record: the call did not reach the first one, or the connection to it was cut",
    "shortened": "the record of {hop} is shortened",
    "as-far-as": "connected as far as {hop}: {last} has nothing to forward",
    "no-span": "no span of {hop}: its proxy makes none, and passes the headers on",
    "no-span-of-ingress": "no span of the ingress: it makes none, and passes the headers on",
    # Of the answers.
    "leniently": "the answers were counted and no more, for they are not the contract's: {fault}",
    # Of the headers.
    "no-further": "{key} went no further than {hop} ({why})",
    "last-would-not": "{hop} is the last and would not forward {keys}",
    "between": "between {source} and {target}{silent}: {what}",
    "lost": "{key} was lost",
    "perhaps-lost": "{key} is missing, perhaps only from a record too long for it",
    "folded": "{count} {key} headers were folded into one, comma-joined",
    "reordered": "{key} headers changed their order",
    "changed": "{key} was changed",
    "other-count": "{key} came {after}, not {before}",
    # Of the spans, and where they are read.
    "unread": "the traces could not be read, the records alone show it: {reason}",
    "not-sampled": "{count} of {total} calls were not sampled in front of {hop} ({how}){rest}: raise the sampling at "
    "the ingress",
    "headers-begin-it": "the -H headers begin the trace: the requester sends no root span of its own",
    "no-taker": "nothing takes spans at {url}: the requester sends no root span of its own",
    "not-exported": "the requester's own root spans could not be exported within 2s",
    "nobody-traces": "{hop} received no trace header: nothing in front of it traces; called again, with the "
    "requester's own trace context",
    # Of a load.
    "requester-busy": "the requester is the limit: {share} of a core in one process; try --processes {more}",
    "begun-late": "the requester began calls up to {late} ms late (p99): the machine is busy",
    "never-begun": "{count} calls were never begun: {bound} were in flight; --concurrency moves that",
}


def note(name: str, **facts: object) -> Note:
    """The note of this name, with its facts."""
    return Note(NOTES[name].format(**facts))
