"""Every exception that this package raises on purpose, under one base class.

Each message says what was wrong, where (the file, the tensor, the option) and what to do about it.
"""

__all__ = [
    "CheckpointError",
    "InterruptedRun",
    "LLPFError",
    "MetricError",
    "MismatchError",
    "OrderError",
    "RankError",
    "RunError",
    "ScheduleError",
    "SpecificationError",
    "TaskError",
    "UsageError",
]


class LLPFError(ValueError):
    """Base class of all errors meant for the user; the command line turns it into one message and an exit code."""


class CheckpointError(LLPFError):
    """A file is not a checkpoint, cannot be read, or holds what must not be executed."""


class MismatchError(LLPFError):
    """Two sets of weights, or weights and a model, do not fit each other."""


class OrderError(LLPFError):
    """The layer order of a module cannot be derived, or a phase names layers that do not exist."""


class UsageError(LLPFError):
    """Options that do not go together, or one that is missing."""


class SpecificationError(LLPFError):
    """A text such as ``file.py:name`` or ``key=value`` names nothing that can be used."""


class TaskError(LLPFError):
    """A task cannot be built or evaluated, or its data are missing."""


class ScheduleError(LLPFError):
    """A schedule file is malformed."""


class RunError(LLPFError):
    """A run's folder is taken, incomplete, of another version, or cannot be written."""


class InUseError(RunError):
    """Another process is writing to the place."""


class RankError(LLPFError):
    """A rank of a distributed search is missing or has ended, or ranks are not given the same.

    Attributes:
        told: another rank says why, so that this one need not.
    """

    def __init__(self, message: str, told: bool = False) -> None:
        super().__init__(message)
        self.told = told


class MetricError(LLPFError):
    """A metric is undefined for a task or a path; the message says why."""


class InterruptedRun(LLPFError):  # noqa: N818 - an interruption by the user is not an error
    """The user stopped a run; everything up to its last knot is on disk."""
