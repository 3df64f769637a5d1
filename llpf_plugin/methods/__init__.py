"""Methods that find a path: what a method is, the registry, and those that LLPF is measured beside."""

from llpf_plugin.methods.base import Method, Outcome, Plan, Solver, Step, Stretch, setting
from llpf_plugin.methods.baselines import AutoNEB, Bezier, Curve, Finetune, Linear, SphereCurve
from llpf_plugin.methods.registry import known, make_method, method_class

__all__ = [
    "AutoNEB",
    "Bezier",
    "Curve",
    "Finetune",
    "Linear",
    "Method",
    "Outcome",
    "Plan",
    "Solver",
    "SphereCurve",
    "Step",
    "Stretch",
    "known",
    "make_method",
    "method_class",
    "setting",
]
