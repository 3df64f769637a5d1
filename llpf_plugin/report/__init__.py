"""Pictures and tables of measured paths."""

from llpf_plugin.report.document import check_place, document
from llpf_plugin.report.format import duration, number, percent, size
from llpf_plugin.report.measure import measure_run, measure_stored, same_measurement
from llpf_plugin.report.measured import EXTRAS, Measured
from llpf_plugin.report.page import write_report
from llpf_plugin.report.path_figures import draw_path
from llpf_plugin.report.style import FORMATS
from llpf_plugin.report.tables import comparison_table, metric_cell
from llpf_plugin.report.tensorboard import TensorBoard

__all__ = [
    "EXTRAS",
    "FORMATS",
    "Measured",
    "TensorBoard",
    "check_place",
    "comparison_table",
    "document",
    "draw_path",
    "duration",
    "measure_run",
    "measure_stored",
    "metric_cell",
    "number",
    "percent",
    "same_measurement",
    "size",
    "write_report",
]
