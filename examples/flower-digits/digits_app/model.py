"""A small convolutional network with BatchNorm, how it is trained, and how it is evaluated."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

torch.set_num_threads(1)


class Net(nn.Module):
    """Three convolutions and a linear head: ``[n, 1, 8, 8] → [n, 10]``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.conv2, self.bn2 = nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32)
        self.conv3, self.bn3 = nn.Conv2d(32, 64, 3, 2, 1, bias=False), nn.BatchNorm2d(64)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.relu(self.bn3(self.conv3(x)))
        return self.fc(x.mean((2, 3)))


def train(net: nn.Module, data: tuple[Tensor, Tensor], epochs: int, lr: float, seed: int, mu: float = 0.0) -> float:
    """SGD with momentum; ``mu`` is FedProx's pull towards the weights that training began with. Returns the loss."""
    images, digits = data
    optimizer = torch.optim.SGD(net.parameters(), lr, momentum=0.9)
    begin = [p.detach().clone() for p in net.parameters()]
    rng = torch.Generator().manual_seed(seed)
    net.train()
    loss = torch.tensor(0.0)
    for _ in range(epochs):
        for batch in torch.randperm(len(digits), generator=rng).split(32):
            if len(batch) < 2:  # BatchNorm needs two
                continue
            loss = F.cross_entropy(net(images[batch]), digits[batch])
            pull = sum(((p - q) ** 2).sum() for p, q in zip(net.parameters(), begin, strict=True)) if mu else 0.0
            optimizer.zero_grad()
            (loss + mu / 2 * pull).backward()
            optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def evaluate(net: nn.Module, data: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Loss and accuracy."""
    net.eval()
    scores = net(data[0])
    return float(F.cross_entropy(scores, data[1])), float((scores.argmax(1) == data[1]).float().mean())
