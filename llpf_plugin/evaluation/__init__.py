"""The loss of one point and along a path, running statistics re-estimated at every point; the goal of a search."""
