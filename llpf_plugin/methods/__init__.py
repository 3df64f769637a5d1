"""Methods that find a path: what a method is, the registry, and those that LLPF is measured beside."""
