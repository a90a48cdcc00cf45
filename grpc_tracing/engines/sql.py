"""The ledger's rules over the spans of traces as SQL: one text for all engines, and what differs between them.

Tables, a row a span or a call, each made from those before it:

- `spans`: the layout's columns, and `tail`, by which spans belong to one trace; only this one is an engine's own.
- `twice`: ids that more than one span of a trace has. `held`: the spans, of those that come twice one.
- `joined`: with each span what stands above it, in columns `up_…`.
- `walk_N`: calls out whose ancestor number N is looked at; `calls`: what each of them continues.
- `onward`: the targets to which calls in go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from grpc_tracing.audit.facts import ENTRIES, EXITS
from grpc_tracing.audit.ledger import EXAMPLES, SKEW_NS
from grpc_tracing.audit.traces import NARROW, Begins

IDENTITY: Final = ("trace_id", "span_id", "parent_id")
NAMED: Final = ("kind", "service", "instance", "version", "layer", "route", "target")
COLUMNS: Final = (*IDENTITY, *NAMED, "start_ns", "end_ns", "request_id", "linked")
"""In the order of `Fact`, by which of two spans with one id one is chosen."""


@dataclass(frozen=True)
class Dialect:
    """What differs: a sorted list of distinct values, and a list of pairs of start and end."""

    distinct: str
    times: str

    def targets(self, column: str) -> str:
        return self.distinct.format(column)

    def pairs(self, start: str, end: str) -> str:
        return self.times.format(start, end)


def _among(kinds: frozenset[str]) -> str:
    return f"kind IN ({', '.join(repr(str(kind)) for kind in sorted(kinds))})"


def _of(table: str, columns: tuple[str, ...]) -> str:
    return ", ".join(f"{table}.{column} AS {column}" for column in columns)


TAIL: Final = f"right(trace_id, {NARROW})"
_ENTERS, _LEAVES = _among(ENTRIES), _among(EXITS)
_WIDE: Final = ("tail", *COLUMNS, "enters")


def spans(given: str) -> str:
    """The rows of `given`, a table or a query, that has the layout's columns without nulls."""
    return f"""
SELECT {TAIL} AS tail, {", ".join(COLUMNS[:11])},
  CASE WHEN end_ns < start_ns THEN start_ns ELSE end_ns END AS end_ns, request_id, linked, {_ENTERS} AS enters
FROM {given}
"""


COUNTS: Final = """
SELECT service, version, count(*) AS spans,
  min(CASE WHEN start_ns > 0 THEN start_ns END) AS first, max(CASE WHEN start_ns > 0 THEN end_ns END) AS last
FROM spans GROUP BY service, version
"""
TRACES: Final = "SELECT count(DISTINCT tail) AS traces FROM spans"

TWICE: Final = (
    "SELECT tail, span_id, enters, count(*) AS times FROM spans GROUP BY tail, span_id, enters HAVING count(*) > 1"
)
HELD: Final = f"""
SELECT {_of("s", _WIDE)} FROM spans s
LEFT JOIN twice t ON s.tail = t.tail AND s.span_id = t.span_id AND s.enters = t.enters
WHERE t.times IS NULL
UNION ALL
SELECT {_of("r", _WIDE)} FROM (
  SELECT {_of("s", _WIDE)}, row_number() OVER (
    PARTITION BY s.tail, s.span_id, s.enters
    ORDER BY CASE WHEN s.parent_id = '' THEN 1 ELSE 0 END, {", ".join(f"s.{column}" for column in COLUMNS)}
  ) AS place
  FROM spans s JOIN twice t ON s.tail = t.tail AND s.span_id = t.span_id AND s.enters = t.enters
) r WHERE r.place = 1
"""
JOINED: Final = f"""
SELECT {_of("h", _WIDE)},
  e.service IS NOT NULL OR o.service IS NOT NULL AS up_there,
  e.service IS NOT NULL AS up_enters,
  coalesce(e.service, o.service, '') AS up_service,
  coalesce(e.route, o.route, '') AS up_route,
  coalesce(e.start_ns, o.start_ns, 0) AS up_start,
  coalesce(e.end_ns, o.end_ns, 0) AS up_end,
  h.parent_id = h.span_id AND (e.service IS NOT NULL) = h.enters AS up_self
FROM held h
LEFT JOIN (SELECT tail, span_id, service, route, start_ns, end_ns FROM held WHERE enters AND span_id <> '') e
  ON h.tail = e.tail AND h.parent_id = e.span_id
LEFT JOIN (SELECT tail, span_id, service, route, start_ns, end_ns FROM held WHERE NOT enters AND span_id <> '') o
  ON h.tail = o.tail AND h.parent_id = o.span_id
"""

_CALL: Final = ("tail", "trace_id", "span_id", "service", "layer", "instance", "version", "target", "onward", "end_ns")
_CALLS: Final = (*_CALL, "request_id", "begins", "began", "cause", "cause_route", "cause_enters", "cause_own")


def _step(call: str, at: str, linked: str) -> str:
    """What a call out continues, by the ancestor `at` that the walk has come to: one that a link joins to another trace
    where `linked` says so. Empty where the walk goes on to what stands above."""
    ends = f"{at}.parent_id = ''"
    return f"""
  CASE WHEN {ends} AND {linked} THEN '{Begins.CALL_IN}' WHEN {ends} THEN '{Begins.ITSELF}'
    WHEN NOT {at}.up_there OR {at}.up_self THEN '{Begins.UNSEEN}'
    WHEN {at}.up_enters OR {at}.up_service <> {call}.service THEN '{Begins.CALL_IN}' ELSE '' END AS begins,
  {at}.start_ns AS began,
  {at}.parent_id AS cause,
  CASE WHEN {ends} THEN {at}.route ELSE {at}.up_route END AS cause_route,
  NOT {ends} AND {at}.up_enters AS cause_enters,
  NOT {ends} AND {at}.up_service = {call}.service AS cause_own"""


FIRST_STEP: Final = f"""
SELECT {_of("j", _CALL[:8])}, CASE WHEN j.target = '' THEN j.route ELSE j.target END AS onward, j.end_ns AS end_ns,
  j.request_id AS request_id, {_step("j", "j", "1 = 0")}
FROM joined j WHERE {_LEAVES.replace("kind", "j.kind")}
"""


def next_step(before: str) -> str:
    """From the calls out that the walk in table `before` left open."""
    return f"""
SELECT {_of("w", (*_CALL, "request_id"))}, {_step("w", "j", "j.linked")}
FROM {before} w JOIN joined j ON w.tail = j.tail AND w.cause = j.span_id WHERE w.begins = '' AND NOT j.enters
"""


def open_in(walk: str) -> str:
    return f"SELECT count(*) AS open FROM {walk} WHERE begins = ''"


def calls(walks: list[str]) -> str:
    """Those still open after the last step stand below more spans than are looked at."""
    found = [f"SELECT {', '.join(_CALLS)} FROM {walk} WHERE begins <> ''" for walk in walks]
    deep = _of("w", _CALLS).replace("w.begins", f"'{Begins.UNSEEN}'")
    return " UNION ALL ".join([*found, f"SELECT {deep} FROM {walks[-1]} w WHERE w.begins = ''"])


NESTED: Final = """
SELECT tail, span_id, parent_id FROM joined
WHERE enters AND up_enters AND up_service = service AND NOT up_self
"""
"""Calls in below another one of the same service: the SDK's below the sidecar's."""
FIRST_ONWARD: Final = f"""
SELECT DISTINCT tail, cause AS span_id, onward AS target FROM calls
WHERE begins = '{Begins.CALL_IN}' AND cause_enters AND cause_own
"""


def next_onward(before: str, seen: list[str]) -> str:
    """The calls in above those in table `before` go on to the same targets; without those seen already."""
    known = " UNION ALL ".join(f"SELECT tail, span_id, target, 1 AS known FROM {one}" for one in seen)
    return f"""
SELECT DISTINCT n.tail AS tail, n.parent_id AS span_id, b.target AS target
FROM {before} b JOIN nested n ON b.tail = n.tail AND b.span_id = n.span_id
LEFT JOIN ({known}) k ON n.tail = k.tail AND n.parent_id = k.span_id AND b.target = k.target
WHERE k.known IS NULL
"""


def onward(dialect: Dialect, tables: list[str]) -> str:
    every = " UNION ALL ".join(f"SELECT tail, span_id, target FROM {one}" for one in tables)
    return f"SELECT tail, span_id, {dialect.targets('target')} AS targets FROM ({every}) t GROUP BY tail, span_id"


def entered(dialect: Dialect) -> str:
    """Calls in, and the targets to which they go on."""
    return f"""
SELECT j.service AS service, j.layer AS layer, j.instance AS instance, j.route AS route, o.targets AS targets,
  {dialect.pairs("j.start_ns", "j.end_ns")} AS times
FROM joined j LEFT JOIN onward o ON j.tail = o.tail AND j.span_id = o.span_id
WHERE j.enters GROUP BY j.service, j.layer, j.instance, j.route, o.targets
"""


def began(dialect: Dialect) -> str:
    """Calls out that began a trace."""
    return f"""
SELECT service, layer, onward AS target, instance, version,
  {dialect.pairs("began", "CASE WHEN end_ns < began THEN began ELSE end_ns END")} AS times
FROM calls WHERE begins = '{Begins.ITSELF}' GROUP BY service, layer, onward, instance, version
"""


WHOLE: Final = f"""
SELECT service, layer, onward AS target, cause_route AS route, instance, version, count(*) AS calls
FROM calls WHERE begins = '{Begins.CALL_IN}' GROUP BY service, layer, onward, cause_route, instance, version
"""
UNSEEN: Final = f"""
SELECT service, layer, onward AS target, count(*) AS calls FROM calls WHERE begins = '{Begins.UNSEEN}'
GROUP BY service, layer, onward
"""
CALLED: Final = "SELECT DISTINCT target, service FROM calls"


def arrived(dialect: Dialect) -> str:
    """Calls into an SDK that begin a trace."""
    return f"""
SELECT service, layer, instance, version, {dialect.pairs("start_ns", "end_ns")} AS times FROM joined
WHERE enters AND layer = 'sdk' AND parent_id = '' AND NOT linked GROUP BY service, layer, instance, version
"""


ARRIVED_WHOLE: Final = """
SELECT service, layer, route, instance, version, count(*) AS calls FROM joined
WHERE enters AND layer = 'sdk' AND ((parent_id = '' AND linked) OR (up_there AND up_service = service))
GROUP BY service, layer, route, instance, version
"""
ARRIVED: Final = "SELECT DISTINCT service, layer FROM joined WHERE enters AND layer = 'sdk'"
BELOW: Final = f"""
SELECT service,
  sum(CASE WHEN NOT up_there THEN 1 ELSE 0 END) AS orphans,
  sum(CASE WHEN up_there AND enters AND up_service <> service THEN 1 ELSE 0 END) AS spanned,
  sum(CASE WHEN up_there AND enters AND up_service <> service
    AND (start_ns < up_start - {SKEW_NS} OR start_ns > up_end + {SKEW_NS}) THEN 1 ELSE 0 END) AS skewed
FROM joined WHERE parent_id <> '' GROUP BY service
"""

LEFT: Final = f"""
SELECT service, layer, onward AS target, request_id, trace_id, span_id FROM calls
WHERE begins = '{Begins.ITSELF}' AND request_id <> ''
"""
CAME: Final = """
SELECT s.service AS service, s.request_id AS request_id, s.trace_id AS trace_id, s.span_id AS span_id, s.route AS route
FROM held s JOIN (SELECT DISTINCT service, request_id FROM lefts) l
  ON s.service = l.service AND s.request_id = l.request_id
WHERE s.enters AND s.request_id <> ''
"""
FIRSTS: Final = """
SELECT service, request_id, trace_id, span_id, route FROM (
  SELECT c.service AS service, c.request_id AS request_id, c.trace_id AS trace_id, c.span_id AS span_id,
    c.route AS route,
    row_number() OVER (PARTITION BY c.service, c.request_id ORDER BY c.trace_id, c.span_id) AS place
  FROM cames c
) r WHERE place = 1
"""
SECONDS: Final = """
SELECT service, request_id, trace_id, span_id, route FROM (
  SELECT c.service AS service, c.request_id AS request_id, c.trace_id AS trace_id, c.span_id AS span_id,
    c.route AS route,
    row_number() OVER (PARTITION BY c.service, c.request_id ORDER BY c.trace_id, c.span_id) AS place
  FROM cames c JOIN firsts f ON c.service = f.service AND c.request_id = f.request_id
  WHERE c.trace_id <> f.trace_id
) r WHERE place = 1
"""
MET: Final = """
SELECT l.service AS service, l.layer AS layer, l.target AS target,
  CASE WHEN f.trace_id <> l.trace_id THEN f.route ELSE s.route END AS route,
  CASE WHEN f.trace_id <> l.trace_id THEN concat(f.trace_id, '/', f.span_id)
    ELSE concat(s.trace_id, '/', s.span_id) END AS call_in,
  concat(l.trace_id, '/', l.span_id) AS call_out
FROM lefts l JOIN firsts f ON l.service = f.service AND l.request_id = f.request_id
LEFT JOIN seconds s ON l.service = s.service AND l.request_id = s.request_id
WHERE f.trace_id <> l.trace_id OR s.trace_id IS NOT NULL
"""
BY_REQUEST_ID: Final = """
SELECT service, layer, target, route, count(*) AS calls FROM met GROUP BY service, layer, target, route
"""
SHOWN: Final = f"""
SELECT service, layer, target, call_in, call_out FROM (
  SELECT service, layer, target, call_in, call_out,
    row_number() OVER (PARTITION BY service, layer, target ORDER BY call_in, call_out) AS place
  FROM met
) r WHERE place <= {EXAMPLES}
"""
