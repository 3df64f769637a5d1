"""From settings to the finder of the method that they name; `plan` has the walk itself."""

from llpf_plugin.evaluation.goal import Levels
from llpf_plugin.llpf.plan import Slices, make_finder
from llpf_plugin.methods.autoneb import AutoNEB
from llpf_plugin.methods.base import Finder
from llpf_plugin.methods.curve import Curve
from llpf_plugin.methods.finetune import Finetune
from llpf_plugin.methods.linear import Linear
from llpf_plugin.search.progress import Stretch
from llpf_plugin.search.settings import Settings
from llpf_plugin.tasks.task import Task

CURVE_LR, ADAM_LR, POLISH_LR = 2.0, 0.05, 0.5
"""Learning rates of curves, in units of the task's own: of SGD, whose steps on a control point are 2t(1−t) as long, of
Adam, and of polishing, which begins where the loss is low already. At twice the first one LeNet5's curves collapse, and
polishing destroys what it was given."""

PIECES = 20
"""Segments of the stored path of a curve."""

POLISHED = 5
"""Knots that polishing trains."""


def make_method(
    settings: Settings,
    task: Task,
    levels: Levels,
    slices: Slices,
    stretch: Stretch = Stretch(0, 1),  # noqa: B008
) -> Finder:
    """The finder for a stretch of the path: the method that the settings name, a repair's walk, or polishing."""
    lr = task.defaults.lr if settings.lr is None else settings.lr
    momentum = task.defaults.momentum if settings.momentum is None else settings.momentum
    steps = max(1, settings.budget - settings.polish) if settings.steps is None else settings.steps
    if stretch.polish:
        return Curve(
            "polish", settings.polish, "chain", POLISHED, lr=POLISH_LR * lr, momentum=momentum, pieces=POLISHED + 1,
            target=stretch.target,
        )  # fmt: skip
    if settings.method == "linear":
        return Linear()
    if settings.method == "finetune":
        return Finetune(steps, lr, momentum)
    if settings.method == "autoneb":
        return AutoNEB(steps, CURVE_LR * lr)
    if settings.method in ("bezier", "sphere-curve"):
        sphere = settings.method == "sphere-curve"
        rate = (ADAM_LR if settings.optimizer == "adam" else CURVE_LR) * lr
        return Curve(
            settings.method, steps, control=settings.control, correct=settings.correct if sphere else "none",
            optimizer=settings.optimizer, lr=rate, momentum=momentum, pieces=PIECES, spread=sphere,
        )  # fmt: skip
    return make_finder(settings, task, levels, slices, stretch.strictness)
