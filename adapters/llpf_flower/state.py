"""A client's own model between rounds: in a folder where one is named, else in Flower's context while it is small."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from glob import escape
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Context
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from llpf_flower.arrays import sound, to_arrays, to_weights, view
from llpf_flower.folders import prepare
from llpf_plugin.documents import check_regular, parse_json, validated
from llpf_plugin.errors import CheckpointError, MismatchError, RunError
from llpf_plugin.files import atomic_write
from llpf_plugin.geometry import Weights

LIMIT = 32_000_000
"""Bytes up to which a model is kept in the context.

In deployment Flower loses a larger context without a word (38 MB were seen to survive, 191 MB were lost).
"""

OWN, NOTES = "llpf-own", "llpf-notes"


@dataclass
class Own:
    """A client's own model and what goes with it.

    Attributes:
        weights: its state dict.
        notes: numbers and words (JSON values) about it.
    """

    weights: Weights
    notes: dict[str, Any] = field(default_factory=dict)


def client_id(context: Context) -> str:
    """What the client calls itself: its ``partition-id``, or its node id where it was given none."""
    return str(context.node_config.get("partition-id", context.node_id))


@dataclass(frozen=True)
class _Stored:
    """What a client's file says of its model: the run, node and round that wrote it, and the nodes that did before."""

    run: int
    node: int
    notes: dict[str, Any]
    round: int | None = None
    former: list[int] = field(default_factory=list)


class Store:
    """Where one client keeps its own model.

    Args:
        context: the client's.
        folder: where the model lies (default: ``state-dir`` of the node config); what lies there outlasts the run.
        limit: bytes up to which a model may stay in the context, where no folder is named.
        server_round: the round that is being trained; None where the server does not say.
    """

    def __init__(
        self, context: Context, folder: str | Path | None = None, limit: int = LIMIT, server_round: int | None = None
    ) -> None:
        self.context, self.limit, self.round = context, limit, server_round
        named = folder or context.node_config.get("state-dir")
        self.folder = Path(str(named)) if named else None

    @property
    def file(self) -> Path:
        """The client's own file in the folder."""
        assert self.folder is not None
        return self.folder / f"client-{client_id(self.context)}.safetensors"

    def load(self, like: ArrayRecord) -> Own | None:
        """The client's own model, None if it has none yet, or one that holds NaN.

        Args:
            like: the incoming model, whose names and shapes the own one must have; it comes in their order.

        Raises:
            RunError: the folder cannot be written, or another client of this run keeps its model there.
            CheckpointError: the file is damaged.
            MismatchError: it holds another model.
        """
        self.check(like)
        if self.folder is None and OWN in self.context.state:
            notes = json.loads(str(self.context.state.config_records[NOTES]["json"]))
            own, place = Own(to_weights(self.context.state.array_records[OWN]), notes), "the context"
        elif self.folder is not None and self.file.is_file():
            own, place = self._read(), str(self.file)
        else:
            return None
        shapes = {k: tuple(t.shape) for k, t in own.weights.items()}
        wanted = {k: tuple(a.shape) for k, a in like.items()}
        if odd := sorted(k for k in shapes.keys() | wanted.keys() if shapes.get(k) != wanted.get(k)):
            raise MismatchError(
                f"{place} holds another model than the server sent: {', '.join(odd[:5])} differ. "
                "Name another state-dir, or remove the file."
            )
        if not all(sound(own.weights[k], view(a)) for k, a in like.items()):
            return None
        return Own({k: own.weights[k] for k in like}, own.notes)

    def save(self, weights: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
        """Keep the client's own model.

        Raises:
            RunError: the file cannot be written, or another client has written it in this round; what is there stays.
        """
        arrays = to_arrays(weights)
        if self.folder is None:
            self.context.state[OWN] = arrays
            self.context.state[NOTES] = ConfigRecord({"json": json.dumps(dict(notes))})
            return
        values = {
            "run": self.context.run_id, "node": self.context.node_id, "round": self.round,
            "former": self._former(), "notes": dict(notes),
        }  # fmt: skip
        tensors = {k: t.detach().cpu().contiguous().clone() for k, t in weights.items()}
        atomic_write(self.file, lambda target: save_file(tensors, target, metadata={OWN: json.dumps(values)}))

    def fits(self, like: ArrayRecord) -> bool:
        """Whether a model of this size can be kept."""
        return self.folder is not None or like.count_bytes() <= self.limit

    def check(self, like: ArrayRecord) -> None:
        """Refuse before any work what would fail after it.

        Raises:
            RunError: the model is too large for the context, the folder cannot be written, or another client of this
                run keeps its model there.
            CheckpointError: the file is damaged.
        """
        if self.folder is None:
            if self.fits(like):
                return
            raise RunError(
                f"the client's own model ({like.count_bytes() / 1e6:.0f} MB) is too large for Flower's context "
                f"(above {self.limit / 1e6:.0f} MB it may be lost without a word): name a folder for it with "
                "state_dir=, or start the SuperNode with --node-config 'state-dir=\"…\"'"
            )
        prepare(self.folder, "state folder", f"{escape(self.file.stem)}.*")
        if self.file.is_file():
            self._read(header=True)

    def _read(self, header: bool = False) -> Own:
        """The file, or only what it says of its model."""
        values, weights = self._open(header)
        self._check_owner(values)
        return Own(weights, values["notes"])

    def _open(self, header: bool) -> tuple[dict[str, Any], Weights]:
        """What the file says of its model, and the model itself unless only the header is asked for."""
        try:
            check_regular(self.file, CheckpointError)
            with safe_open(self.file, "pt") as file:
                text = (file.metadata() or {})[OWN]
                values = validated(_Stored, parse_json(text.encode(), CheckpointError, "its head"))
                weights = {} if header else {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 - no mapping
                return asdict(values), weights
        except (OSError, SafetensorError, KeyError, TypeError, CheckpointError) as error:
            raise CheckpointError(
                f"{self.file} is not a client's model or is damaged ({error}): remove it, or name another state-dir"
            ) from error

    def _check_owner(self, values: Mapping[str, Any]) -> None:
        """Refuse the file of another client of this run.

        A node that restarts has another id, so its own file names its former one. Two clients with one file are told by
        a round in which both want it, or by a node that comes back after another one took its place.
        """
        node = self.context.node_id
        if values["run"] != self.context.run_id or values["node"] == node:
            return
        taken = self.round is None or values["round"] == self.round or node in values["former"]
        if taken:
            raise RunError(
                f"two clients of this run keep their model in {self.file}: nodes {values['node']} and {node}. Give "
                "each its own partition-id, or its own state-dir."
            )

    def _former(self) -> list[int]:
        """Nodes of this run that kept the file before this one; another client may have written it since `load`."""
        if not self.file.is_file():
            return []
        values, _ = self._open(header=True)
        self._check_owner(values)
        if values["run"] != self.context.run_id:
            return []
        return sorted({*values["former"], values["node"]} - {self.context.node_id})
