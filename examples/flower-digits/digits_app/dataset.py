"""scikit-learn's 8×8 digits, split over the clients by Dirichlet. They come with scikit-learn: no download."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

TEST, SERVER = 300, 100
"""Images that nobody trains on, and images of the server's own (for one-shot merging)."""


def _all() -> tuple[Tensor, Tensor]:
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    images = torch.tensor(data.images[order], dtype=torch.float32).unsqueeze(1)
    return (images - 4.88) / 6.02, torch.tensor(data.target[order])


def test_set() -> tuple[Tensor, Tensor]:
    """Images ``[300, 1, 8, 8]`` and digits ``[300]``."""
    images, digits = _all()
    return images[:TEST], digits[:TEST]


def server_set() -> tuple[Tensor, Tensor]:
    """The server's own images ``[100, 1, 8, 8]`` and digits."""
    images, digits = _all()
    return images[TEST : TEST + SERVER], digits[TEST : TEST + SERVER]


def client_set(client: int, clients: int, alpha: float, seed: int) -> tuple[Tensor, Tensor]:
    """One client's images: each class is dealt out in shares drawn from a Dirichlet distribution.

    Args:
        client: from 0.
        clients: how many there are.
        alpha: concentration of the shares; 0 deals evenly.
        seed: of the shares; everyone must use the same.
    """
    images, digits = (t[TEST + SERVER :] for t in _all())
    rng = np.random.default_rng(seed)
    mine = []
    for digit in range(10):
        where = np.flatnonzero(digits.numpy() == digit)
        shares = rng.dirichlet([alpha] * clients) if alpha > 0 else np.full(clients, 1 / clients)
        mine.append(np.split(where, (np.cumsum(shares)[:-1] * len(where)).astype(int))[client])
    chosen = np.sort(np.concatenate(mine))
    if len(chosen) < 2:  # BatchNorm needs two
        chosen = np.arange(2 * client, 2 * client + 2)
    return images[chosen], digits[chosen]
