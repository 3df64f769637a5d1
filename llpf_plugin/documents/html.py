"""Small pieces of HTML, as notebooks show values by themselves: a table, and a curve as SVG."""

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, MARGIN = 480, 120, 6


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """A table of plain text."""
    lines = ["<table>", f"<caption>{escape(caption)}</caption>"] if caption else ["<table>"]
    lines.append("<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in header) + "</tr>")
    lines += ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return "\n".join([*lines, "</table>"])


def svg_curve(x: Sequence[float], y: Sequence[float], level: float | None = None, title: str = "") -> str:
    """A curve over [0, 1], from 0 to its highest point, with a dashed line at a level.

    Points without a finite value are left out.

    Args:
        x: ascending positions.
        y: a value for each, NaN where there is none.
        level: of the dashed line.
        title: told where the pointer rests, and read out.
    """
    known = [(a, b) for a, b in zip(x, y, strict=True) if abs(b) < float("inf")]
    highest = max([b for _, b in known] + ([level] if level is not None else []), default=0.0) or 1.0

    def point(a: float, b: float) -> str:
        return f"{MARGIN + a * (WIDTH - 2 * MARGIN):.1f},{HEIGHT - MARGIN - b / highest * (HEIGHT - 2 * MARGIN):.1f}"

    lines = [f'<polyline points="{" ".join(point(a, b) for a, b in known)}" fill="none" stroke="#3b6ea5"/>']
    if level is not None:
        ends = f"{point(0, level)} {point(1, level)}"
        lines.append(f'<polyline points="{ends}" fill="none" stroke="#999" stroke-dasharray="4"/>')
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" style="background: white"'
    drawn = "".join([f"<title>{escape(title)}</title>", *lines])
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}>{drawn}</svg>'
