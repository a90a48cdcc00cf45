"""The topology as a picture: which nodes and edges there are, and where they stand. Pure geometry, no SVG."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from grpc_tracing.store.chosen import Chosen, Path, groups
from grpc_tracing.store.frame import Names
from grpc_tracing.store.stats import Load

# Sizes in pixels. A gap holds an edge's label.
NODE_WIDTH, NODE_HEIGHT = 132, 56
GAP_ACROSS, GAP_DOWN = 118, 76
# Where calls go down, the gap below a node holds four lines, and labels stand to the right of the last lane.
GAP_BESIDE, GAP_BELOW, LABEL_WIDTH = 100, 96, 84
MARGIN = 14

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
    """Nodes by band and name, what hangs together first. `pieces` counts the traces that begin in each band."""

    nodes: tuple[Key, ...]
    links: tuple[Link, ...]
    pieces: dict[str, int]


def topology(chosen: Chosen) -> Topology:
    """What called what in these traces; pieces whose caller is missing stand apart."""
    nodes: dict[Key, None] = {}
    pieces: Counter[str] = Counter()
    for code, count in chosen.used("tops").items():
        tops = [(top.node if top.cut else "", top.node) for top in chosen.table.pieces[code]]
        nodes |= dict.fromkeys(tops)
        pieces.update(dict.fromkeys(filter(None, {band for band, _ in tops}), count))
    links = tuple(_links(chosen))
    nodes |= {key: None for link in links for key in (link.caller, link.callee)}
    # By name and not by time: a picture that is drawn anew at each call must not move.
    layers = _layers(tuple(nodes), links)
    ordered = sorted(links, key=lambda link: (link.caller[0], layers[link.caller], link.caller, link.callee))
    return Topology(tuple(sorted(nodes)), tuple(ordered), dict(pieces))


def _links(chosen: Chosen) -> Iterator[Link]:
    """Paths that end in the same call make one link."""
    places, inverse = np.unique(chosen.places, return_inverse=True)
    pairs: Names[tuple[Key, Key]] = Names()
    codes = [pairs.code(_ends(chosen.path(place))) for place in places]
    for code, group in groups(chosen, np.array(codes, np.int32)[inverse]).items():
        caller, callee = pairs.values[code]
        yield Link(caller, callee, group.load)


def _ends(path: Path) -> tuple[Key, Key]:
    band = path.nodes[0] if path.cut else ""
    return (band, path.nodes[-2]), (band, path.nodes[-1])


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
    """An edge from a point to a point, along the callee's lane at its end, where there is room for its label."""

    link: Link
    x1: int
    y1: int
    x2: int
    y2: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a piece is cut off: a line to its first node, from that node in the whole part where it stands above."""

    service: str
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
    cuts: tuple[Cut, ...]


def layout(graph: Topology, *, upright: bool) -> Picture:
    """A column per layer of calls, or a row when upright; each cut-off piece in a band of its own below."""
    layers = _layers(graph.nodes, graph.links)
    boxes: dict[Key, Box] = {}
    for band in dict.fromkeys(key[0] for key in graph.nodes):
        members = [key for key in graph.nodes if key[0] == band]
        # The bands so far, and room for a label between them and the next.
        top = max((box.y + NODE_HEIGHT + GAP_DOWN for box in boxes.values()), default=MARGIN * 2)
        boxes |= (_stack if upright else _spread)(members, layers, top)
    return Picture(
        upright,
        max((box.x for box in boxes.values()), default=0) + NODE_WIDTH + MARGIN + (LABEL_WIDTH if upright else 0),
        max((box.y for box in boxes.values()), default=0) + NODE_HEIGHT + MARGIN + (0 if upright else MARGIN),
        tuple(boxes.values()),
        tuple(_line(link, boxes, upright=upright) for link in graph.links),
        tuple(_cut(band, boxes, upright=upright) for band in graph.pieces),
    )


def _layers(nodes: tuple[Key, ...], links: tuple[Link, ...]) -> dict[Key, int]:
    """How many calls lead to each node at most; a band begins where its service stands in the whole part."""
    layers = dict.fromkeys(nodes, 0)
    # Services that call each other in a circle would push one another on for ever.
    for _ in nodes:
        before = dict(layers)
        for band, name in nodes:
            if band == name and ("", name) in layers:
                layers[band, name] = layers["", name]
        for link in links:
            if link.callee[0] != link.callee[1]:
                layers[link.callee] = min(len(nodes), max(layers[link.callee], layers[link.caller] + 1))
        if layers == before:
            break
    return layers


def _spread(members: list[Key], layers: dict[Key, int], top: int) -> dict[Key, Box]:
    """From left to right."""
    return {
        key: Box(key, MARGIN + layers[key] * (NODE_WIDTH + GAP_ACROSS), top + lane * (NODE_HEIGHT + GAP_DOWN))
        for key, lane in _lanes(members, layers).items()
    }


def _lanes(members: list[Key], layers: dict[Key, int]) -> dict[Key, int]:
    """The place of each node beside the others of its layer."""
    used: Counter[int] = Counter()
    lanes: dict[Key, int] = {}
    for key in members:
        lanes[key] = used[layers[key]]
        used[layers[key]] += 1
    return lanes


def _stack(members: list[Key], layers: dict[Key, int], top: int) -> dict[Key, Box]:
    """From top to bottom; a narrow window has no room for a band beside another one."""
    first = min(layers[key] for key in members)
    return {
        key: Box(
            key,
            MARGIN + lane * (NODE_WIDTH + GAP_BESIDE),
            top + (layers[key] - first) * (NODE_HEIGHT + GAP_BELOW),
        )
        for key, lane in _lanes(members, layers).items()
    }


def _line(link: Link, boxes: dict[Key, Box], *, upright: bool) -> Line:
    caller, callee = boxes[link.caller], boxes[link.callee]
    if upright:
        half = NODE_WIDTH // 2
        return Line(link, caller.x + half, caller.y + NODE_HEIGHT, callee.x + half, callee.y)
    half = NODE_HEIGHT // 2
    return Line(link, caller.x + NODE_WIDTH, caller.y + half, callee.x, callee.y + half)


def _cut(band: str, boxes: dict[Key, Box], *, upright: bool) -> Cut:
    piece, whole = boxes[band, band], boxes.get(("", band))
    middle = piece.x + NODE_WIDTH // 2
    start = whole.y + NODE_HEIGHT if whole and not upright else piece.y - GAP_DOWN // 2
    return Cut(band, middle, start, middle, piece.y)
