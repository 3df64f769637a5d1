"""Low-Loss Path Finding (arXiv 2505.02604): the walk from model to model and towards the origin."""
