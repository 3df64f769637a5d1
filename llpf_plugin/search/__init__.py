"""`find_path`: the only loop, with its progress, the assembly of knots into a path, and the walk to the origin."""
