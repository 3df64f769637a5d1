"""Were two networks trained independently? Weights of one initialisation stay alike (paper, appendix C).

Two independent tensors of n weights, each taken about its own mean, have a cosine of standard deviation 1/√n about 0,
whatever their variances and means; training on the same data adds little to it. Ten pairs of digits/resnet, fifteen
of digits/mlp and six of digits/transformer stay under 4/√n in every tensor; two trained from one initialisation lie
between 0.87 and 0.99, finetuned ones at 1.
"""

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from llpf_plugin.preflight.checks import Finding, finding

ALIKE, CHANCE = 0.05, 6.0
"""A tensor's centred cosine lies far above chance if it exceeds ``ALIKE + CHANCE/√n``."""

SHARED = 0.8
"""The cosine at which a single tensor is one and the same in both, such as an embedding that was never drawn anew."""


def centred_cosine(a: Tensor, b: Tensor) -> float:
    """The cosine of the angle between two tensors, each about its own mean; 0 if one is constant."""
    one, other = (t.detach().double().flatten() for t in (a, b))
    one, other = (t - t[0] for t in (one, other))  # so that a constant has no variance by rounding
    one, other = one - one.mean(), other - other.mean()
    scale = float(one.norm() * other.norm())
    return float(one @ other) / scale if scale > 0 else 0.0


def independent(a: Mapping[str, Tensor], b: Mapping[str, Tensor], names: Iterable[str]) -> list[Finding]:
    """A warning where most tensors of ≥ 2 dimensions are far above chance, or where single ones are the same.

    Args:
        a: weights by plain name.
        b: those of the second network, as it was trained: aligning it to ``a`` makes the two alike.
        names: tensors to compare; what is not trained, such as a fixed embedding, says nothing.
    """
    cosines = {k: centred_cosine(a[k], b[k]) for k in names if a[k].dim() >= 2 and a[k].numel() > 1}
    alike = {k: c for k, c in cosines.items() if c > ALIKE + CHANCE / a[k].numel() ** 0.5}
    if 2 * len(alike) > len(cosines):
        what = f"A and B were not trained independently: {len(alike)} of {len(cosines)} tensors are alike"
        remedy = "Networks of one initialisation are joined more easily; a path between them says nothing of others."
    else:
        alike = {k: c for k, c in alike.items() if c > SHARED}
        what = f"A and B share {len(alike)} of {len(cosines)} tensors, though they differ in the others"
        remedy = "If they were drawn once for both, the networks are not independent: draw them anew for every network."
    return finding("warning", what, [f"{k} (cosine {c:.3f})" for k, c in alike.items()], remedy)


def trained(model: nn.Module, names: Iterable[str]) -> list[str]:
    """The parameters among ``names`` that require a gradient."""
    own = {name for name, p in model.named_parameters() if p.requires_grad}
    return [name for name in names if name in own]
