"""From a module to a graph of the operations on its tensors: a recorded forward pass, and fallbacks."""
