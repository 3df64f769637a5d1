"""Documents that people write or edit by hand: read within bounds, and quoted in errors in a few words."""

from llpf_plugin.documents.quoted import quoted, visible
from llpf_plugin.documents.yaml_file import parse_yaml, read_yaml

__all__ = [
    "parse_yaml",
    "quoted",
    "read_yaml",
    "visible",
]
