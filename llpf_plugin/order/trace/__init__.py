"""From a module to the graph of what its tensors went through: a recorded forward pass, and fallbacks."""
