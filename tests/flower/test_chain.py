"""Where a mod stands in Flower's chains."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp
from helpers.flower_apps import grid, record, values

from llpf_flower.chain import holding, innermost
from llpf_plugin.errors import LLPFError

LIKE = record(w=[1.0, 2.0])


def noting(name: str, seen: list[str]) -> Any:
    def mod(message: Message, context: Context, call_next: Any) -> Any:
        seen.append(name)
        return call_next(message, context)

    return mod


def moved(seen: list[str]) -> Any:
    """A mod that lets another one run last."""
    return lambda message, context, call_next: innermost(call_next, noting("last", seen))(message, context)


def sent(app: ClientApp, kind: str = "train") -> Message:
    """What the first client answers."""
    nodes = grid(app, 1)
    message = Message(RecordDict({"arrays": LIKE}), 1001, kind)
    return next(iter(nodes.send_and_receive([message])))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_it_is_called_next_to_the_function_wherever_it_is_named(place: int) -> None:
    seen: list[str] = []
    mods = [noting(name, seen) for name in "ab"]
    mods.insert(place, moved(seen))
    app = ClientApp(mods=mods[:2])

    @app.train(mods=mods[2:])
    def _train(message: Message, context: Context) -> Message:
        seen.append("train")
        return Message(RecordDict(), reply_to=message)

    assert sent(app).has_content() and seen == ["a", "b", "last", "train"]


def test_clients_of_the_old_kind_are_the_end_of_a_chain() -> None:
    seen: list[str] = []
    app = ClientApp(lambda context: NumPyClient().to_client(), mods=[moved(seen), noting("a", seen)])
    sent(app)
    assert seen == ["a", "last"]


def test_a_chain_that_cannot_be_read_is_refused() -> None:
    def builder(hidden: Any) -> Any:
        def link(message: Message, context: Context) -> Any:
            return hidden(message, context)

        link.__module__ = "flwr.somewhere"
        return link

    with pytest.raises(LLPFError, match="a privacy mod might be bypassed"):
        innermost(builder(None), noting("last", []))


def test_a_message_holds_other_arrays_only_meanwhile() -> None:
    grid(ClientApp(), 1)
    message, other = Message(RecordDict({"arrays": LIKE}), 1, "train"), record(w=[3.0, 4.0])
    with pytest.raises(RuntimeError, match="on purpose"), holding(message, "arrays", other):
        assert values(message.content["arrays"]) == values(other)
        raise RuntimeError("on purpose")
    assert values(message.content["arrays"]) == values(LIKE)
