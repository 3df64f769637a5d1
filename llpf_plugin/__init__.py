"""LLPF: low-loss paths between independently trained networks (arXiv 2505.02604)."""
