"""Foreign code: a user's factory, objective or data; whatever it raises comes out as one sentence that says where.

Nothing here imports torch, so that ``--help`` stays quick.
"""

import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llpf_plugin.documents import visible
from llpf_plugin.errors import LLPFError, SpecificationError, TaskError

_INSTALLED = tuple(sysconfig.get_path(k) for k in ("stdlib", "platstdlib", "purelib", "platlib"))
_OURS = (str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "adapters"))
_END = object()

REMEDIES = {
    "MemoryError": "Take fewer examples at once: a smaller batch size",
    "Expected more than 1 value per channel when training": (
        "BatchNorm needs two examples or more: drop_last=True in the loader leaves a last batch of one out"
    ),
    "Trying to backward through the graph a second time": "The objective must not call backward() itself",
    "DataLoader worker": "num_workers=0 in the loader shows what went wrong in it",
}
"""What helps against an error, by words that it is known by."""


@contextmanager
def explained(what: str, refused: type[LLPFError] = SpecificationError) -> Iterator[None]:
    """Turn whatever foreign code raises, ``sys.exit()`` included, into one message that says where; not Ctrl-C.

    Args:
        what: the foreign code does.
        refused: the error that is raised.

    Raises:
        LLPFError: of the type ``refused``; it names the exception, and the user's own line that it came through.
    """
    try:
        yield
    except (LLPFError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        raise refused(f"{what} failed: {told(error)}{_where(error)}{_remedy(error)}") from error


def each(what: str, made: Callable[[], Iterable[Any]], refused: type[LLPFError] = TaskError) -> Iterator[Any]:
    """What foreign code gives one after another; whatever it raises is `explained`.

    Args:
        what: it is.
        made: begins it.
        refused: the error that is raised.
    """
    with explained(what, refused):
        items = iter(made())
    while True:
        with explained(what, refused):
            item = next(items, _END)
        if item is _END:
            return
        yield item


def told(error: BaseException) -> str:
    """An exception in one line: its type and what it says, shortened, and with control characters escaped."""
    try:
        text = visible(" ".join(str(error).split())[:500])
    except Exception:  # a foreign exception's own text may fail too
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _remedy(error: BaseException) -> str:
    """What helps against some errors, as the end of a message."""
    return next((f". {remedy}" for sign, remedy in REMEDIES.items() if sign in told(error)), "")


def _where(error: BaseException) -> str:
    """The last line that an error came through outside of Python's own and installed packages, if there is one."""
    lines = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [(file, line) for file, line in lines if not file.startswith(("<", *_OURS, *_INSTALLED))]
    return f" ({own[-1][0]}, line {own[-1][1]})" if own else ""
