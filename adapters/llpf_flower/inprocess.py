"""A Grid that calls a ClientApp in this process, one client after the other: for tests and benchmarks.

A round costs what the clients' own work costs: no Ray, no server, no serialization beyond Flower's own records. Every
node keeps one Context, as in a simulation.
"""

import traceback
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

FIRST_NODE = 1001


class InProcessGrid(Grid):
    """Some nodes that run one ClientApp.

    Args:
        client_app: called once a message.
        num_nodes: how many; node ``i`` has ``partition-id`` i.
        run_config: what the clients find in ``context.run_config``.
        node_config: what they find in ``context.node_config`` besides ``partition-id`` and ``num-partitions``.

    Attributes:
        contexts: by node id.
        silent: nodes that get no message: their replies come too late.
    """

    def __init__(
        self, client_app: ClientApp, num_nodes: int, run_config: Mapping[str, Any] | None = None,
        node_config: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.client_app, self.silent = client_app, set[int]()
        self.contexts = {
            FIRST_NODE + i: Context(
                run_id=1,
                node_id=FIRST_NODE + i,
                node_config={"partition-id": i, "num-partitions": num_nodes, **(node_config or {})},
                state=RecordDict(),
                run_config=dict(run_config or {}),
            )
            for i in range(num_nodes)
        }
        self._replies: dict[str, Message] = {}
        self._sent = 0
        _identify()

    def set_run(self, run: Any) -> None:
        """Nothing to do: there is one run."""

    @property
    def run(self) -> Any:
        """No record of the run is kept."""
        raise NotImplementedError("an InProcessGrid keeps no record of its run")

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """A message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """All nodes."""
        return list(self.contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Run the clients; what they raise becomes an error reply, as on a real node."""
        return [name for message in messages if (name := self._push(message))]

    def _push(self, message: Message) -> str:
        self._sent += 1
        name = f"message-{self._sent}"
        message.metadata.__dict__["_message_id"] = name  # as the real grids do
        node = message.metadata.dst_node_id
        if node not in self.silent:
            own = deepcopy(message)  # clients must not change what others get
            try:
                self._replies[name] = self.client_app(own, self.contexts[node])
            except Exception as error:
                last = traceback.format_exception_only(error)[-1].strip()
                self._replies[name] = Message(Error(code=2, reason=last), reply_to=own)
        return name

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies that are there."""
        return [self._replies.pop(name) for name in message_ids if name in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Push and pull; nothing is waited for."""
        return self.pull_messages(self.push_messages(messages))


def _identify() -> None:
    """Newer versions of Flower refuse to make a Message in a process that does not say which task it runs."""
    try:
        from flwr.supercore.task_identity import TaskIdentity
    except ImportError:
        return
    try:
        _ = TaskIdentity.node_id
    except RuntimeError:
        TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
