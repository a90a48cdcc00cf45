"""The topology as a picture: which nodes and edges there are, and where they stand. Pure geometry, no SVG."""

from collections.abc import Iterable
from dataclasses import dataclass

from traces.standing import detached, serving
from traces.stats import Load, by_key
from traces.summary import Summary
from traces.trace import Edge

# Sizes in pixels. A gap holds an edge's label.
NODE_WIDTH, NODE_HEIGHT = 132, 56
GAP_ACROSS, GAP_ALONG = 128, 76
MARGIN = 24

# A node by its band and name. The band is the service at which a cut-off piece begins, empty for what hangs together.
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Link:
    """A call between two nodes, and how much of it there was."""

    caller: Key
    callee: Key
    load: Load


@dataclass(frozen=True, slots=True)
class Topology:
    """Nodes in the order in which calls reach them. `pieces` counts the traces that begin in each band."""

    nodes: tuple[Key, ...]
    links: tuple[Link, ...]
    pieces: dict[str, int]


def topology(summaries: Iterable[Summary]) -> Topology:
    """What called what in these traces; pieces whose caller is missing stand apart."""
    found = tuple(summaries)
    served = serving(found)
    nodes: dict[Key, None] = {}
    pieces: dict[str, int] = {}
    calls: list[tuple[tuple[Key, Key], Edge]] = []
    for summary in found:
        bands = [top.node if detached(top, place, served) else "" for place, top in enumerate(summary.tops)]
        nodes |= {(band, top.node): None for band, top in zip(bands, summary.tops, strict=True)}
        for band in filter(None, set(bands)):
            pieces[band] = pieces.get(band, 0) + 1
        calls += [(((bands[e.piece], e.caller), (bands[e.piece], e.callee)), e) for e in summary.edges]
    nodes |= {key: None for pair, _ in calls for key in pair}
    links = tuple(Link(caller, callee, load) for (caller, callee), load in by_key(calls).items())
    return Topology(tuple(sorted(nodes, key=lambda key: key[0] != "")), links, pieces)


@dataclass(frozen=True, slots=True)
class Box:
    """Where a node stands: its upper left corner."""

    key: Key
    x: int
    y: int

    @property
    def name(self) -> str:
        return self.key[1]

    @property
    def band(self) -> str:
        return self.key[0]


@dataclass(frozen=True, slots=True)
class Line:
    """An edge from a point to a point; its label stands at the middle."""

    link: Link
    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def middle(self) -> tuple[int, int]:
        return (self.x1 + self.x2) // 2, (self.y1 + self.y2) // 2


@dataclass(frozen=True, slots=True)
class Tear:
    """Where a piece was torn off: from the node that should have gone on to the same node in the piece's band."""

    service: str
    count: int
    x1: int
    y1: int
    x2: int
    y2: int


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything with its place, in a field of this size. `upright`: calls go from top to bottom."""

    upright: bool
    width: int
    height: int
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    tears: tuple[Tear, ...]


def layout(graph: Topology, *, upright: bool) -> Picture:
    """A column per layer of calls, or a row when upright; a band below (or beside) what hangs together."""
    layers = _layers(graph)
    lanes = _lanes(graph, layers)
    boxes = {key: _box(key, layers[key], lanes[key], upright=upright) for key in graph.nodes}
    lines = tuple(_line(link, boxes, upright=upright) for link in graph.links)
    tears = tuple(_tears(graph, boxes, upright=upright))
    width = max((box.x for box in boxes.values()), default=0) + NODE_WIDTH + MARGIN
    height = max((box.y for box in boxes.values()), default=0) + NODE_HEIGHT + MARGIN
    # The labels of an upright picture stand beside its edges, to the right.
    return Picture(upright, width + (GAP_ALONG if upright else 0), height, tuple(boxes.values()), lines, tears)


def _layers(graph: Topology) -> dict[Key, int]:
    """How many calls lead to each node at most; a band begins where its service stands in the whole part."""
    layers: dict[Key, int] = {}
    for key in graph.nodes:
        layers[key] = layers.get(("", key[1]), 0) if key[0] == key[1] else 0
    # Services that call each other in a circle would push one another on for ever.
    for _ in range(len(graph.nodes)):
        for link in graph.links:
            if link.callee[1] != link.callee[0]:
                layers[link.callee] = max(layers[link.callee], layers[link.caller] + 1)
        for key in graph.nodes:
            if key[0] == key[1]:
                layers[key] = layers.get(("", key[1]), layers[key])
    return {key: min(layer, len(graph.nodes)) for key, layer in layers.items()}


def _lanes(graph: Topology, layers: dict[Key, int]) -> dict[Key, int]:
    """The place of each node beside the others of its layer; each band has lanes of its own."""
    lanes: dict[Key, int] = {}
    first = 0
    for band in dict.fromkeys(key[0] for key in graph.nodes):
        members = [key for key in graph.nodes if key[0] == band]
        used: dict[int, int] = {}
        for key in members:
            lanes[key] = first + used.get(layers[key], 0)
            used[layers[key]] = used.get(layers[key], 0) + 1
        first += max(used.values())
    return lanes


def _box(key: Key, layer: int, lane: int, *, upright: bool) -> Box:
    if upright:
        return Box(key, MARGIN + lane * (NODE_WIDTH + GAP_ALONG), MARGIN + layer * (NODE_HEIGHT + GAP_ALONG))
    return Box(key, MARGIN + layer * (NODE_WIDTH + GAP_ACROSS), MARGIN + lane * (NODE_HEIGHT + GAP_ALONG))


def _line(link: Link, boxes: dict[Key, Box], *, upright: bool) -> Line:
    caller, callee = boxes[link.caller], boxes[link.callee]
    if upright:
        half = NODE_WIDTH // 2
        return Line(link, caller.x + half, caller.y + NODE_HEIGHT, callee.x + half, callee.y)
    half = NODE_HEIGHT // 2
    return Line(link, caller.x + NODE_WIDTH, caller.y + half, callee.x, callee.y + half)


def _tears(graph: Topology, boxes: dict[Key, Box], *, upright: bool) -> Iterable[Tear]:
    for band, count in graph.pieces.items():
        lower, upper = boxes[band, band], boxes.get(("", band))
        across, along = NODE_WIDTH // 2, NODE_HEIGHT // 2
        if upright:
            start = upper.x + NODE_WIDTH if upper else 0
            yield Tear(band, count, start, lower.y + along, lower.x, lower.y + along)
        else:
            start = upper.y + NODE_HEIGHT if upper else 0
            yield Tear(band, count, lower.x + across, start, lower.x + across, lower.y)
