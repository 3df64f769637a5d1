"""Weights as points: variance spheres, moves, scale groups, paths and their knots. Pure functions and values."""

from llpf_plugin.geometry.knots import Chain, Knots, MemoryKnots
from llpf_plugin.geometry.path import Path, simplify
from llpf_plugin.geometry.scale_groups import ScaleGroup, scale_groups
from llpf_plugin.geometry.sphere import Correct, has_sphere, is_magnitude, moments, project, project_, spheres, variance
from llpf_plugin.geometry.weights import (
    NEAR,
    Weights,
    assign,
    buffers,
    clone,
    coordinates,
    cosine,
    distance,
    layers_of,
    lerp,
    norm,
    relative_distance,
    select,
    tied,
    ties,
)

__all__ = [
    "NEAR",
    "Chain",
    "Correct",
    "Knots",
    "MemoryKnots",
    "Path",
    "ScaleGroup",
    "Weights",
    "assign",
    "buffers",
    "clone",
    "coordinates",
    "cosine",
    "distance",
    "has_sphere",
    "is_magnitude",
    "layers_of",
    "lerp",
    "moments",
    "norm",
    "project",
    "project_",
    "relative_distance",
    "scale_groups",
    "select",
    "simplify",
    "spheres",
    "tied",
    "ties",
    "variance",
]
