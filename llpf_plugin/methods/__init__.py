"""Methods that find a path: what a method is, the registry, and those that LLPF is measured beside."""

from llpf_plugin.methods.base import Method, MovesEnd, Plan, Problem, Solver, Step, Stretch, Terms, in_words, setting
from llpf_plugin.methods.baselines import AutoNEB, Bezier, Curve, Finetune, LearnedMatching, Linear, SphereCurve
from llpf_plugin.methods.registry import BUILT_IN, known, make_method, method_class
from llpf_plugin.records import Outcome

__all__ = [
    "BUILT_IN",
    "AutoNEB",
    "Bezier",
    "Curve",
    "Finetune",
    "LearnedMatching",
    "Linear",
    "Method",
    "MovesEnd",
    "Outcome",
    "Plan",
    "Problem",
    "Solver",
    "SphereCurve",
    "Step",
    "Stretch",
    "Terms",
    "in_words",
    "known",
    "make_method",
    "method_class",
    "setting",
]
