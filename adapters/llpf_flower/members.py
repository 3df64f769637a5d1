"""Who takes part in a gossip federation: each member's place in the graph, its node, and its model in transit."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from logging import INFO, WARNING

from flwr.app import ArrayRecord
from flwr.common.logger import log


@dataclass(eq=False)
class Member:
    """A client of the federation.

    Attributes:
        node: its id, which is another one after a restart.
        model: what it is to be sent.
        client: the partition id that it reported, empty if it has reported none.
    """

    node: int
    model: ArrayRecord
    client: str = ""


class Members:
    """The clients of a run, as many as the graph has nodes.

    Args:
        nodes: ids of those that are connected when the run begins.
        model: what all begin with.
    """

    def __init__(self, nodes: Iterable[int], model: ArrayRecord) -> None:
        self._all = [Member(node, model) for node in sorted(nodes)]
        self._strangers = set[int]()

    def __len__(self) -> int:
        return len(self._all)

    def placed(self) -> list[Member]:
        """All members, each at its place in the graph: by reported partition id, as numbers, else by node id."""
        return sorted(self._all, key=lambda m: (m.client == "", m.client.zfill(12), m.node))

    def at(self, connected: Collection[int]) -> dict[int, Member]:
        """The members by node; a node that is new takes the place of one that is gone.

        Args:
            connected: ids of the nodes that are there now.
        """
        found = {member.node: member for member in self._all}
        vacant = [member for member in self.placed() if member.node not in connected]
        for node in sorted(set(connected) - found.keys()):
            if not vacant:
                self._turn_away(node)
                continue
            member = vacant.pop(0)
            log(INFO, "\t> Node %d takes the place of node %d, which is gone", node, member.node)
            found[node], member.node = member, node
        return {member.node: member for member in self._all}

    def _turn_away(self, node: int) -> None:
        """Say once that a node has no place; one that restarted gets its own when Flower knows that it was gone."""
        if node not in self._strangers:
            log(WARNING, "\t> Node %d came after the run began: the topology has no free place for it", node)
            self._strangers.add(node)

    def heard(self, reported: Mapping[int, str]) -> dict[int, Member]:
        """The members that the replies of a round stand for, by node: those of a partition id, else those at a node.

        Args:
            reported: partition ids by node, empty where a node reports none.
        """
        counts = Counter(client for client in reported.values() if client)
        if twice := sorted(client for client, count in counts.items() if count > 1):
            log(WARNING, "\t> Several clients report the partition id %s: these go by their nodes", ", ".join(twice))
        return {node: self._one(node, "" if client in twice else client) for node, client in reported.items()}

    def _one(self, node: int, client: str) -> Member:
        there = next(member for member in self._all if member.node == node)
        known = next((member for member in self._all if client and member.client == client), None)
        if known is None or known is there:
            there.client = there.client or client
            return there
        known.node, there.node = there.node, known.node  # two restarted, and each got the other's place
        return known
