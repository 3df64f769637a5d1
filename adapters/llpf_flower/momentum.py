"""Momentum of the server: what is left of the steps of earlier rounds is added to the newest one."""

from collections.abc import Collection

from flwr.app import ArrayRecord
from torch import Tensor

from llpf_flower.arrays import is_buffer, to_array, view, wide
from llpf_plugin.errors import LLPFError
from llpf_plugin.geometry import project_, variance


class Momentum:
    """FedAvgM's momentum (Hsu et al., arXiv 1909.06335), with a mean that stays on its spheres.

    With ``v ← β·v + (mean − model)`` the next model is ``model + v``, each held tensor projected back on the mean's
    sphere. A tensor's first step is not carried on: it leads away from what is nobody's mean (an untrained model, or a
    client's). Buffers are the mean's.

    Args:
        beta: the part of the velocity that is left after a round, in [0, 1); at 0 the next model is the mean.

    Attributes:
        velocity: by parameter; None until there was a mean.

    Raises:
        LLPFError: ``beta`` is out of its range.
    """

    def __init__(self, beta: float) -> None:
        if not 0 <= beta < 1:
            raise LLPFError(f"server_momentum = {beta}: it must be in [0, 1)")
        self.beta = beta
        self.velocity: dict[str, Tensor] | None = None

    def follow(self, model: ArrayRecord, served: ArrayRecord) -> None:
        """Take the step to what is served in place of that to ``model``, to which a wrapper has added noise, say.

        So the velocity tells nothing of the mean without that noise.
        """
        for name, step in (self.velocity or {}).items():
            if name in model and name in served and bool(step.any()):  # a first step is not carried on
                step += view(served[name]).to(step.dtype) - view(model[name]).to(step.dtype)

    def carry(
        self, model: ArrayRecord, mean: ArrayRecord, held: Collection[str], active: Collection[str] | None
    ) -> ArrayRecord:
        """The next model.

        Args:
            model: the one before.
            mean: of the clients, on its spheres.
            held: names of the tensors that are on spheres.
            active: parameters that change in this round, None for all.
        """
        if self.beta == 0:
            return mean
        before, self.velocity = self.velocity, {}
        result = ArrayRecord()
        for name, array in mean.items():
            result[name] = array
            new = view(array)
            if is_buffer(name, new) or (active is not None and name not in active):
                continue
            old = view(model[name]).to(wide(new))
            if before is None or name not in before:
                self.velocity[name] = old.new_zeros(old.shape)
                continue
            self.velocity[name] = new - old + self.beta * before[name]
            moved = old + self.velocity[name]
            if name in held:
                project_([moved], [variance(new)])
            result[name] = to_array(moved.to(new.dtype))
        return result
