"""Models that do something else in ``forward`` than compute."""

import random
import sys
import threading

import torch
from torch import Tensor, nn

from llpf_plugin import Task
from user_tasks.base import Wrapped, X, factory, splits


def task(model: nn.Module, inputs: Tensor = X) -> Task:
    return Task(model, **splits(inputs))


class Holding(Wrapped):
    """Holds what cannot be copied or pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.function, self.lock, self.file = (lambda x: x), threading.Lock(), sys.__stderr__

    def forward(self, x: Tensor) -> Tensor:
        with self.lock:
            return self.function(self.net(x))


@factory
def holds_what_cannot_be_copied() -> Task:
    return task(Holding())


class Noisy(Wrapped):
    """Adds noise, in training and evaluation."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x + 0.05 * torch.randn_like(x))


@factory
def adds_noise() -> Task:
    return task(Noisy())


class NoisyOtherwise(Wrapped):
    """Scales by a random number of Python's."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x * (1 + 0.05 * random.random()))


@factory
def scales_by_a_random_number() -> Task:
    return task(NoisyOtherwise())


class Seeding(Wrapped):
    """Seeds torch's generator."""

    def forward(self, x: Tensor) -> Tensor:
        torch.manual_seed(0)
        return self.net(x)


@factory
def seeds_the_generator() -> Task:
    return task(Seeding())


class Decaying(Wrapped):
    """Makes its own weights smaller."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            for parameter in self.net.parameters():
                parameter.mul_(0.999)
        return self.net(x)


@factory
def changes_its_weights() -> Task:
    return task(Decaying())


class Shrinking(Wrapped):
    """Makes its input smaller, in place."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.mul_(0.9))


@factory
def changes_its_input() -> Task:
    return task(Shrinking())


class Normalizing(Wrapped):
    """Brings pixels to [0, 1], in place."""

    def forward(self, x: Tensor) -> Tensor:
        x /= 255
        return self.net(x * 3)


@factory
def normalizes_its_input_in_place() -> Task:
    return task(Normalizing(), X * 255)


@factory
def begins_with_a_relu_in_place() -> Task:
    layers = nn.ReLU(inplace=True), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)
    return task(nn.Sequential(*layers))


class AlwaysTraining(Wrapped):
    """Goes back to training mode."""

    def forward(self, x: Tensor) -> Tensor:
        self.net.train()
        return self.net(x)


@factory
def goes_back_to_training_mode() -> Task:
    return task(AlwaysTraining(norm=True))


class WithoutGradients(Wrapped):
    """Turns gradients off, and leaves them so."""

    def forward(self, x: Tensor) -> Tensor:
        torch.set_grad_enabled(False)
        return self.net(x)


@factory
def turns_gradients_off() -> Task:
    return task(WithoutGradients())


class Pair(Wrapped):
    """Returns a tuple."""

    def forward(self, x: Tensor) -> tuple[Tensor, int]:  # type: ignore[override]
        return self.net(x), 1


@factory
def returns_a_tuple() -> Task:
    return task(Pair())


class Growing(Wrapped):
    """Replaces a layer after a while."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 70:
            self.net[0] = nn.Linear(8, 16)
        return self.net(x)


@factory
def replaces_a_layer() -> Task:
    return task(Growing())


class NoEvaluation(Wrapped):
    """Raises in evaluation mode."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            raise NotImplementedError("no eval")
        return self.net(x)


@factory
def raises_in_evaluation_mode() -> Task:
    return task(NoEvaluation())


class NoTraining(Wrapped):
    """Raises in training mode."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            raise NotImplementedError("no training here")
        return self.net(x)


@factory
def raises_in_training_mode() -> Task:
    return task(NoTraining())


class Printing(Wrapped):
    """Prints at every call."""

    def forward(self, x: Tensor) -> Tensor:
        print("hello [bold]")
        return self.net(x)


@factory
def prints() -> Task:
    return task(Printing())
