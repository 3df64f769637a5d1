"""A layer order as an SVG picture: a row for each layer or phase, and the flow of data in lanes beside the text.

The rows follow the order, so a picture of five hundred layers is long but never tangled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from llpf_plugin.order.phases import phases as cut
from llpf_plugin.order.render import Level, human, label, phase_edges, summary
from llpf_plugin.order.result import LayerOrder, Phase

ROW, LANE, CHARACTER, MARGIN, RADIUS = 20, 16, 7.3, 18, 4.5
INK, FAINT, LINE, BAND = "#1a1a1a", "#6a6a6a", "#3b6ea5", "#eef2f7"
FONT = "DejaVu Sans Mono, Menlo, Consolas, monospace"


@dataclass(frozen=True)
class Row:
    """One row of the picture.

    Attributes:
        cells: its columns of text; all empty where branches only meet.
        band: number of the shaded or plain band that it belongs to.
    """

    cells: tuple[str, ...]
    band: int

    @property
    def radius(self) -> float:
        """Of its dot, in pixels."""
        return RADIUS if any(self.cells) else RADIUS / 2


@dataclass(frozen=True)
class Drawing:
    """A picture before it is written: rows, the lane of each, and edges between row numbers.

    Attributes:
        title: the line above the rows.
        rows: from top to bottom.
        lanes: for each row, the lane in which its dot stands.
        edges: pairs (from, to) of row numbers, from < to.
    """

    title: str
    rows: tuple[Row, ...]
    lanes: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]

    @property
    def columns(self) -> list[float]:
        """The left end of each column of text, and the right end of the last, in pixels."""
        places = [2.0 * MARGIN + (max(self.lanes, default=0) + 1) * LANE]
        for i in range(len(self.rows[0].cells)):
            places.append(places[-1] + CHARACTER * (max(len(row.cells[i]) for row in self.rows) + 2))
        return places

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in pixels."""
        return max(self.columns[-1], CHARACTER * len(self.title) + MARGIN) + MARGIN, ROW * (len(self.rows) + 2) + MARGIN

    def dot(self, row: int) -> tuple[float, float]:
        """The centre of a row's dot, in pixels."""
        return MARGIN + LANE * (self.lanes[row] + 0.5), ROW * (row + 2)

    def _repr_svg_(self) -> str:
        """What a notebook shows."""
        return svg(self)

    def path(self, start: int, end: int) -> list[tuple[float, float]]:
        """The corners of an edge: down the lane of its start, then across to its end, in the last row."""
        (x0, y0), (x1, y1) = self.dot(start), self.dot(end)
        return [(x0, y0), (x0, y1 - ROW), (x1, y1)] if x0 != x1 else [(x0, y0), (x1, y1)]


def draw(order: LayerOrder, phases: Sequence[Phase] | None = None, level: Level = "layer") -> Drawing:
    """Lay a layer order out, with a row for each layer or each phase; phases are its stages by default."""
    phases = cut(order) if phases is None else phases
    rows, edges = _phase_rows(order, phases) if level == "phase" else _layer_rows(order, phases)
    return Drawing(summary(order), tuple(rows), tuple(lanes(len(rows), edges)), tuple(edges))


def _phase_rows(order: LayerOrder, phases: Sequence[Phase]) -> tuple[list[Row], list[tuple[int, int]]]:
    rows = [
        Row((f"{i + 1}", p.name, f"{len(p.layers)} layers", human(sum(order[n].numel for n in p.layers))), i)
        for i, p in enumerate(phases)
    ]
    return rows, [(a - 1, b - 1) for a, b in phase_edges(order, phases)]


def _layer_rows(order: LayerOrder, phases: Sequence[Phase]) -> tuple[list[Row], list[tuple[int, int]]]:
    """One row for each layer, and one wherever several branches meet before several others begin."""
    band = {name: i for i, phase in enumerate(phases) for name in phase.layers}
    starts = {phase.layers[0]: f"phase {i}: {phase.name}" for i, phase in enumerate(phases, 1)}
    times = Counter(layer.after for layer in order.layers)
    rows: list[Row] = []
    edges: list[tuple[int, int]] = []
    place: dict[str, int] = {}
    meeting: dict[tuple[str, ...], int] = {}
    for i, layer in enumerate(order.layers, 1):
        sources = [place[name] for name in layer.after]
        if len(sources) > 1 and times[layer.after] > 1:
            if layer.after not in meeting:
                meeting[layer.after] = len(rows)
                edges += [(source, len(rows)) for source in sources]
                rows.append(Row(("",) * 5, band.get(layer.name, -1)))
            sources = [meeting[layer.after]]
        place[layer.name] = len(rows)
        edges += [(source, len(rows)) for source in sources]
        cells = (f"{i}", label(layer), layer.type, human(layer.numel), starts.get(layer.name, ""))
        rows.append(Row(cells, band.get(layer.name, -1)))
    return rows, edges


def lanes(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """A lane for each row, so that no edge runs through a dot.

    A row keeps its lane until its last successor. The next row takes the lane of a predecessor that ends there, else
    the first that is free.
    """
    last = list(range(count))
    sources: list[list[int]] = [[] for _ in range(count)]
    for start, end in edges:
        last[start] = max(last[start], end)
        sources[end].append(start)
    free_from: list[int] = []  # for each lane, the first row at which it is free again
    result: list[int] = []
    for row in range(count):
        ending = [result[source] for source in sources[row] if last[source] == row]
        free = [lane for lane, end in enumerate(free_from) if end < row]
        lane = min(ending or free, default=len(free_from))
        if lane == len(free_from):
            free_from.append(0)
        free_from[lane] = last[row]
        result.append(lane)
    return result


def svg(drawing: Drawing) -> str:
    """A drawing as SVG text."""
    width, height = drawing.size
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FONT}" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        _text(MARGIN, ROW, drawing.title, FAINT),
    ]
    for i, row in enumerate(drawing.rows):
        if row.band % 2 == 0:
            parts.append(f'<rect x="0" y="{ROW * (i + 1.5):.1f}" width="{width:.0f}" height="{ROW}" fill="{BAND}"/>')
    for start, end in drawing.edges:
        points = " L ".join(f"{x:.1f} {y:.1f}" for x, y in drawing.path(start, end))
        parts.append(f'<path d="M {points}" fill="none" stroke="{LINE}" stroke-width="1.5"/>')
    for i, row in enumerate(drawing.rows):
        x, y = drawing.dot(i)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{row.radius}" fill="{LINE}"/>')
        cells = zip(row.cells, drawing.columns, strict=False)
        parts += [_text(left, y + 4, cell, INK if j == 1 else FAINT) for j, (cell, left) in enumerate(cells) if cell]
    return "\n".join([*parts, "</svg>"])


def _text(x: float, y: float, text: str, colour: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" xml:space="preserve">{escape(text)}</text>'
