"""Low-Loss Path Finding (arXiv 2505.02604): the walk from model to model and towards the origin.

`reference` has both algorithms literally; `walk` is what runs. Names are imported when they are asked for.
"""

from typing import TYPE_CHECKING

from llpf_plugin.lazy import lazily

if TYPE_CHECKING:
    from llpf_plugin.llpf.directions import ToModel, ToOrigin
    from llpf_plugin.llpf.method import LLPF, Descent
    from llpf_plugin.llpf.plan import REJECT, THRESHOLD, cut_order, cut_slices, read_order, schedule_of
    from llpf_plugin.llpf.schedule import Phase, Schedule, read_schedule, shipped
    from llpf_plugin.llpf.settling import Settled, SettleRule, settle
    from llpf_plugin.llpf.step_control import Backtracking, Scheduled
    from llpf_plugin.llpf.walk import Walk, WalkState

_PLACES = {
    "ToModel": "directions",
    "ToOrigin": "directions",
    "LLPF": "method",
    "Descent": "method",
    "REJECT": "plan",
    "THRESHOLD": "plan",
    "cut_order": "plan",
    "cut_slices": "plan",
    "read_order": "plan",
    "schedule_of": "plan",
    "Phase": "schedule",
    "Schedule": "schedule",
    "read_schedule": "schedule",
    "shipped": "schedule",
    "Settled": "settling",
    "SettleRule": "settling",
    "settle": "settling",
    "Backtracking": "step_control",
    "Scheduled": "step_control",
    "Walk": "walk",
    "WalkState": "walk",
}

__all__ = [
    "LLPF",
    "REJECT",
    "THRESHOLD",
    "Backtracking",
    "Descent",
    "Phase",
    "Schedule",
    "Scheduled",
    "SettleRule",
    "Settled",
    "ToModel",
    "ToOrigin",
    "Walk",
    "WalkState",
    "cut_order",
    "cut_slices",
    "read_order",
    "read_schedule",
    "schedule_of",
    "settle",
    "shipped",
]

__getattr__ = lazily(__name__, _PLACES)
