"""The command line: ``llpf`` with its sub-commands, a thin shell over the library's public names."""
