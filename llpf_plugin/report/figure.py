"""One picture of a path: loss and accuracy along it, and how far each part of the network still has to go."""

from pathlib import Path

from llpf_plugin.quality import Quality, trace_layers
from llpf_plugin.report.bands import bands, shade
from llpf_plugin.report.curves import ALONG, accuracy_panel, loss_panel
from llpf_plugin.report.layer_figures import NAMED
from llpf_plugin.report.style import depth_colors, drawing, new_figure, save


def draw_path(quality: Quality, place: str | Path, picked: float | None = None) -> Path:
    """Write the picture of a measured path.

    Args:
        quality: the measured path.
        place: file to write; the suffix says the format (png, svg, pdf).
        picked: position of the merged model.

    Raises:
        LLPFError: matplotlib is not installed.
    """
    with drawing():
        figure = new_figure((8.6, 7.2))
        above, middle, below = figure.subplots(3, 1, sharex=True, height_ratios=[3, 1.6, 2.2])
        loss_panel(above, quality, picked, ())
        accuracy_panel(middle, quality, picked)
        parts = _parts(quality)
        trace = trace_layers(quality.path, parts)
        shade(below, bands(quality.path), names=False)
        for i, color in enumerate(depth_colors(len(parts))):
            name = trace.layers[i] if len(parts) <= NAMED else None
            below.plot(trace.positions, trace.distance[:, i], color=color, lw=1.3, label=name)
        below.set_ylabel("relative distance to B")
        below.set_ylim(bottom=0)
        below.set_xlabel(ALONG)
        if len(parts) <= NAMED:
            below.legend(fontsize=7.5, ncols=2 if len(parts) > 5 else 1)
        figure.suptitle(title(quality), fontsize=10.5)
        return save(figure, Path(place))


def title(quality: Quality) -> str:
    """The verdict in one line."""
    verdict = "connected" if quality.connected else "not connected"
    steps = quality.path.cost.gradient_steps
    words = f"{verdict}: training loss at most {quality.maximum:.3g}, length ratio {quality.path.length_ratio:.2f}"
    return words + (f", {steps} gradient steps" if steps is not None else "")


def _parts(quality: Quality) -> dict[str, list[str]]:
    """The model's top-level modules."""
    parts: dict[str, list[str]] = {}
    for name in quality.path.knots[0]:
        parts.setdefault(name.split(".")[0], []).append(name)
    return parts
