"""The figure of the plane through A, B and the path's middle."""

from typing import TYPE_CHECKING

import numpy as np

from llpf_plugin.quality import LossPlane
from llpf_plugin.report.style import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DARK, LIGHT = "#101418", "#fbfbfb"
"""Of what is drawn on the contours, which look the same in every theme."""

FINER = 4
"""Grid points that are interpolated for one that was measured."""


def plane_figure(plane: LossPlane) -> "Figure":
    """Contours of the training loss (logarithmic), the path projected on the plane, A, B and the middle."""
    from matplotlib.ticker import FuncFormatter
    from scipy.interpolate import RectBivariateSpline

    figure = new_figure((4.2, 3.5))
    axes = figure.subplots()
    finite = np.nan_to_num(plane.loss, nan=np.nanmax(plane.loss[np.isfinite(plane.loss)]), posinf=1e9)
    logs = np.log10(np.maximum(finite, 1e-6))
    x, y = (np.linspace(v[0], v[-1], FINER * len(v)) for v in (plane.x, plane.y))
    smooth = RectBivariateSpline(plane.y, plane.x, logs, kx=min(3, len(plane.y) - 1), ky=min(3, len(plane.x) - 1))(y, x)
    levels = np.linspace(logs.min(), logs.max(), 13)
    filled = axes.contourf(x, y, smooth, levels=levels, cmap="cividis", extend="both")
    axes.contour(x, y, smooth, levels=levels, colors=LIGHT, linewidths=0.4, alpha=0.45)
    axes.plot(*plane.knots.T, "-", color=DARK, lw=3.2, alpha=0.55)
    axes.plot(*plane.knots.T, "o-", color=LIGHT, lw=1.6, ms=2.4)
    for name, (px, py) in plane.marks.items():
        axes.plot(px, py, "o", color=LIGHT, mec=DARK, mew=0.8, ms=6)
        axes.annotate(
            name, (px, py), (0, -15 if name != "middle" else 8), textcoords="offset points", ha="center", fontsize=9,
            color=LIGHT, fontweight="bold",
        )  # fmt: skip
    axes.set_aspect("equal")
    axes.grid(False)
    axes.set_xlabel("along A → B, Euclidean length in weight space")
    bar = figure.colorbar(
        filled, ax=axes, location="bottom", aspect=34, pad=0.02, format=FuncFormatter(lambda v, _: f"{10**v:.2g}")
    )
    bar.set_label("training loss")
    bar.outline.set_visible(False)
    return figure
