"""The command line: ``llpf-merge`` and ``llpf-order``, thin shells over the library's public names."""
