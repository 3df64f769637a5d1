"""Who was asked in a phase of a round, and whose answer a reply is."""

from collections.abc import Iterable
from typing import Any

from flwr.app import Message


class Asked:
    """The nodes that one phase of a round was sent to.

    For a node that has died the SuperLink answers, under a node id of its own: only the id of the message that it
    replies to tells which node was meant.
    """

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        # The ids of the messages are set when they are sent.
        self._sent: list[Any] = [message.metadata for message in messages]

    def node(self, reply: Message) -> int:
        """The node that a reply stands for: its sender, or the one whose failure it reports."""
        source = reply.metadata.src_node_id
        if not (self._sent and reply.has_error()):
            return source
        nodes = {sent.message_id: sent.dst_node_id for sent in self._sent}
        return int(nodes.get(reply.metadata.reply_to_message_id, source))

    def late(self, replies: Iterable[Message]) -> list[int]:
        """The nodes that none of the replies stands for, in order."""
        return sorted({sent.dst_node_id for sent in self._sent} - {self.node(reply) for reply in replies})
