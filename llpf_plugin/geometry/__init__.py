"""Weights as points: variance spheres, moves, scale groups, paths and their knots. Pure functions and values."""
