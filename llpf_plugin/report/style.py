"""How figures look: one palette, whose colours the page may exchange for those of a dark theme."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llpf_plugin.errors import LLPFError
from llpf_plugin.files import atomic_write, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, RULE, BAND, PAPER = "#1d2125", "#667079", "#d8dcdf", "#eef1f3", "#fefefe"
BLUE, ORANGE, GREEN, PURPLE, RED, TEAL = "#2463a6", "#c05a1c", "#2f7f59", "#6f51a1", "#b1343b", "#1f7f8c"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, RED, TEAL)
"""Colours of methods and runs, in the order in which they appear."""

VARIABLES = {
    INK: "--ink", MUTED: "--muted", RULE: "--rule", BAND: "--band", PAPER: "--card", BLUE: "--blue",
    ORANGE: "--orange", GREEN: "--green", PURPLE: "--purple", RED: "--red", TEAL: "--teal",
}  # fmt: skip
"""The page's name for every colour, which it defines anew for dark windows."""

CARD, WIDE, NARROW = (4.2, 2.95), (9.2, 4.2), (4.2, 4.5)
"""Sizes in inches: half a page's width (and a phone's), all of it, and the narrow form of a wide figure."""

NAMED = 10
"""Layers that a legend tells apart; more are told apart by a scale from first to last."""

FORMATS = ("png", "svg", "pdf")

SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 9.5, "axes.titlelocation": "left",
    "axes.titleweight": "bold", "axes.edgecolor": MUTED, "axes.labelcolor": MUTED, "axes.titlecolor": INK,
    "text.color": INK, "xtick.color": MUTED, "ytick.color": MUTED, "axes.linewidth": 0.7, "xtick.major.width": 0.7,
    "ytick.major.width": 0.7, "ytick.minor.width": 0.5, "axes.spines.top": False, "axes.spines.right": False,
    "axes.facecolor": "none", "figure.facecolor": PAPER, "savefig.facecolor": PAPER, "legend.frameon": False,
    "legend.fontsize": 8, "lines.linewidth": 1.7, "grid.color": RULE, "grid.linewidth": 0.6, "axes.grid": True,
    "axes.grid.axis": "y", "axes.axisbelow": True, "svg.fonttype": "none", "pdf.fonttype": 42,
}  # fmt: skip


@contextmanager
def drawing() -> Iterator[Any]:
    """Matplotlib with our settings; its state outside of this block is not touched.

    Raises:
        LLPFError: matplotlib is not installed.
    """
    try:
        import matplotlib
        import matplotlib.backends.backend_agg
    except ImportError as error:
        raise LLPFError("pictures need matplotlib: pip install 'llpf-plugin[report]'") from error
    with matplotlib.rc_context():
        settings: Any = matplotlib.rcParams  # its type names every key one by one
        backend = settings["backend"]
        matplotlib.rcdefaults()
        settings.update({**SETTINGS, "backend": backend})
        yield matplotlib


def new_figure(size: tuple[float, float] = CARD) -> "Figure":
    """An empty figure that no window or global state knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain_log(axes: "Axes") -> None:
    """A logarithmic y axis with numbers as people write them: 0.01, not a power of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    decades = high / max(low, 1e-300)
    subs = (1.0,) if decades > 300 else (1.0, 3.0) if decades > 20 else (1.0, 2.0, 5.0)
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def depth_colors(count: int) -> list[Any]:
    """One colour a layer, from the first to the last along the data flow; readable on white and on black."""
    from matplotlib import colormaps

    return [colormaps["viridis"](0.12 + 0.72 * i / max(1, count - 1)) for i in range(count)]


def save(figure: "Figure", place: Path) -> Path:
    """Write a figure in the format of the file's suffix."""
    suffix = place.suffix.lstrip(".") or "png"
    if suffix == "svg":
        return write_text(place, svg(figure, place.stem))
    metadata = {"CreationDate": None} if suffix == "pdf" else {}
    return atomic_write(place, lambda t: figure.savefig(t, format=suffix, dpi=160, metadata=metadata))


def svg(figure: "Figure", name: str) -> str:
    """A figure as SVG text, the same bytes every time.

    Args:
        figure: to be drawn.
        name: makes the identifiers inside unlike those of other figures on one page.
    """
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def inline(figure: "Figure", name: str, words: str) -> str:
    """A figure as an ``<svg>`` element for the page: scales with it, takes its fonts and its theme.

    Args:
        figure: to be drawn.
        name: as in `svg`; also the prefix of every identifier.
        words: what it shows, for those who do not see it.
    """
    import html

    text = svg(figure, name)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for color, variable in VARIABLES.items():
        text = text.replace(color, f"var({variable})")
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(href="|url\()#([^")]+)', rf"\1#{name}-\2", text)
    _, _, width, height = re.search(r'viewBox="([^"]+)"', text)[1].split()  # type: ignore[index]
    opening = (
        f'<svg class="figure" role="img" aria-label="{html.escape(words)}" viewBox="0 0 {width} {height}" '
        f'style="aspect-ratio: {width} / {height}" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'xmlns="http://www.w3.org/2000/svg">'
    )
    return opening + text[text.index(">") + 1 :]
