"""Documents: those that people edit by hand, read within bounds and quoted in errors; pieces of HTML for notebooks."""

from llpf_plugin.documents.html import html_table, svg_curve
from llpf_plugin.documents.json_file import check_regular, parse_json, read_content, read_json
from llpf_plugin.documents.quoted import listed, quoted, shortened, visible
from llpf_plugin.documents.validated import validated
from llpf_plugin.documents.yaml_file import parse_yaml, read_yaml

__all__ = [
    "check_regular",
    "html_table",
    "listed",
    "parse_json",
    "parse_yaml",
    "quoted",
    "read_content",
    "read_json",
    "read_yaml",
    "shortened",
    "svg_curve",
    "validated",
    "visible",
]
