"""How long a round of repair trains each of its stretches.

The higher a path is for its goal, and the less a round did for the steps that it took, the longer the next one. Both
powers are of the same finding: a curve's maximum falls about as the steps to the power of −5/3 (docs/repairs.md).
"""

import math

FIRST = 8
"""Gradient steps of the first round where the path is as high as the goal."""

MARGIN = 1.25
"""The part of the steps that a round is expected to need, so that one more is rarely called for."""

GROWTH = (2.0, 4.0)
"""The least and the most that a round is longer than the one before it."""

HIGHEST = 100.0
"""What lies higher, in units of the room between the ends' loss and the goal, counts as this high."""


def round_steps(height: float, last: int) -> int:
    """Gradient steps of a round for each stretch.

    Args:
        height: of the path's maximum above the ends, in units of the room between the ends' loss and the goal.
        last: the steps of the round before, 0 for the first.
    """
    height = min(max(1.0, height), HIGHEST) if not math.isnan(height) else HIGHEST
    if not last:
        return round(FIRST * math.sqrt(height))
    least, most = (growth * last for growth in GROWTH)
    return round(min(max(least, MARGIN * last * height**0.6), most))


def most_steps(rounds: int) -> int:
    """What so many rounds may take for one stretch."""
    return sum(round(round_steps(HIGHEST, 0) * GROWTH[1] ** i) for i in range(rounds))
