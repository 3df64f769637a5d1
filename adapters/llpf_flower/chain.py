"""The place of a mod in the chain: next to the client's own function, whatever order the app names its mods in."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType

from flwr.app import ArrayRecord, Context, Message, RecordDict
from flwr.clientapp.typing import ClientAppCallable

from llpf_plugin.errors import LLPFError

Mod = Callable[[Message, Context, ClientAppCallable], Message]
"""What Flower calls around a client's function; 1.29 has no public name for it."""


def innermost(call_next: ClientAppCallable, mod: Mod) -> ClientAppCallable:
    """The rest of a chain, with one more mod around the function at its end.

    The mods that come first, such as those of one train function (``@app.train(mods=[...])``), then see what the server
    sent and what becomes of it. A privacy mod among them clips the step that the server gets.

    Args:
        call_next: the rest of the chain, as Flower hands it to a mod.
        mod: to be called last.

    Raises:
        LLPFError: this version of Flower builds chains in another way, so that mods of the function might be missed.
    """
    if (link := _link(call_next)) is not None:
        outer, rest = link
        inner = innermost(rest, mod)
        return lambda message, context: outer(message, context, inner)

    def with_mod(message: Message, context: Context) -> Message:
        return mod(message, context, call_next)

    return with_mod


def _link(call_next: ClientAppCallable) -> tuple[Mod, ClientAppCallable] | None:
    """The next mod and what follows it, None at the end; Flower's ``make_ffn`` keeps both in a closure.

    A function of Flower's own at the end is the one that calls a client of the old kind (``client_fn``).
    """
    if not isinstance(call_next, FunctionType) or call_next.__module__.partition(".")[0] != "flwr":
        return None
    cells = dict(zip(call_next.__code__.co_freevars, call_next.__closure__ or (), strict=True))
    if cells.keys() == {"_mod", "_ffn"}:
        return cells["_mod"].cell_contents, cells["_ffn"].cell_contents
    if "client_fn" in cells:
        return None
    raise LLPFError(
        "this version of Flower chains its mods in an unknown way, and a privacy mod might be bypassed: name "
        "llpf_merge_mod as the last mod of the train and of the evaluate function, or use flwr 1.42"
    )


@contextmanager
def holding(message: Message, key: str, arrays: ArrayRecord) -> Iterator[None]:
    """Let a message hold other arrays meanwhile; afterwards it is what the server sent, which mods may go back to."""
    sent = message.content
    message.content = RecordDict({**sent, key: arrays})
    try:
        yield
    finally:
        message.content = sent
