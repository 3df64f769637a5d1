from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info
from torch.utils.data import TensorDataset as Examples

from llpf_plugin import LoaderData, TensorData, crop_and_flip
from llpf_plugin.errors import TaskError
from llpf_plugin.tasks.batches import batch_size, move_batch
from llpf_plugin.tasks.data import rotate
from llpf_plugin.tasks.sampling import generator


def numbered(n: int) -> TensorData:
    """Examples whose input is their own number."""
    return TensorData(torch.arange(n).float().view(n, 1), torch.arange(n))


def stream(data: TensorData, size: int, seed: int, steps: int) -> list[list[int]]:
    return [data.batch(size, seed, step)[1].tolist() for step in range(steps)]


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 99))
def test_an_epoch_gives_every_example_at_most_once_and_drops_the_last_batch(n: int, size: int, seed: int) -> None:
    size = min(size, n)
    epoch = [i for batch in stream(numbered(n), size, seed, n // size) for i in batch]
    assert len(epoch) == n // size * size == len(set(epoch))


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    data = numbered(20)
    forwards = stream(data, 6, seed=3, steps=7)
    assert [data.batch(6, 3, step)[1].tolist() for step in reversed(range(7))] == forwards[::-1]
    assert stream(numbered(20), 6, 3, 7) == forwards
    assert stream(data, 6, 4, 7) != forwards
    assert forwards[:3] != forwards[3:6]  # another order in the next epoch


def test_inputs_go_with_their_targets() -> None:
    inputs, targets = numbered(20).batch(7, 0, 5)
    assert inputs.view(-1).long().tolist() == targets.tolist()


def test_a_batch_is_never_larger_than_the_data() -> None:
    assert sorted(numbered(5).batch(64, 0, 9)[1].tolist()) == [0, 1, 2, 3, 4]


def test_evaluation_goes_through_all_in_order() -> None:
    data = numbered(10)
    assert [t.tolist() for _, t in data.batches(4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [t.tolist() for _, t in data.batches(4, limit=6)] == [[0, 1, 2, 3], [4, 5]]
    assert sum(len(t) for _, t in data.batches(4, limit=99)) == len(data) == 10
    assert data.subset(3).targets.tolist() == [0, 1, 2]


def test_augmentation_is_for_training_only_and_repeats_with_seed_and_step() -> None:
    def noise(x: Tensor, rng: torch.Generator) -> Tensor:
        return x + torch.rand(x.shape, generator=rng)

    data = TensorData(torch.zeros(8, 1), torch.zeros(8), noise)
    assert all(not x.any() for x, _ in data.batches(4))
    first, second = data.batch(4, 0, 0)[0], data.batch(4, 0, 1)[0]
    assert first.any() and not torch.equal(first, second)
    assert torch.equal(first, data.to(torch.device("cpu")).batch(4, 0, 0)[0])


@pytest.mark.parametrize(("inputs", "targets"), [(3, 4), (0, 0)])
def test_inputs_without_targets_are_refused(inputs: int, targets: int) -> None:
    with pytest.raises(ValueError, match=f"{inputs} inputs do not go with {targets} targets"):
        TensorData(torch.zeros(inputs), torch.zeros(targets))


def test_generators_of_neighbouring_keys_are_unrelated() -> None:
    seeds = {generator("cpu", seed, step).initial_seed() for seed in range(20) for step in range(20)}
    assert len(seeds) == 400
    assert generator("cpu", 1, "order").initial_seed() != generator("cpu", 1, "augment").initial_seed()


def literal_crop_and_flip(images: Tensor, padding: int, flip: bool, rng: torch.Generator) -> Tensor:
    """One image and one pixel after the other."""
    n, channels, height, width = images.shape
    offsets = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=rng)
    mirrored = torch.rand(n, 1, generator=rng) < 0.5 if flip else torch.zeros(n, 1, dtype=torch.bool)
    out = torch.zeros_like(images)
    for i in range(n):
        top, left = int(offsets[0, i]) - padding, int(offsets[1, i]) - padding
        for c in range(channels):
            for y in range(height):
                for x in range(width):
                    from_y, from_x = y + top, (width - 1 - x if mirrored[i] else x) + left
                    if 0 <= from_y < height and 0 <= from_x < width:
                        out[i, c, y, x] = images[i, c, from_y, from_x]
    return out


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("padding", [0, 1, 4])
def test_crop_and_flip_against_a_literal_version(padding: int, flip: bool) -> None:
    images = torch.randn(5, 2, 4, 6, generator=torch.Generator().manual_seed(0))
    fast = crop_and_flip(padding, flip)(images, generator("cpu", 7))
    assert torch.equal(fast, literal_crop_and_flip(images, padding, flip, generator("cpu", 7)))


def test_crop_and_flip_reaches_every_place_and_both_sides() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3).add(1).expand(600, 1, 3, 3)
    seen = {tuple(x.flatten().tolist()) for x in crop_and_flip(1)(image, generator("cpu", 0))}
    assert len(seen) == 9 * 2


def test_padding_has_the_value_it_is_given() -> None:
    seen = crop_and_flip(1, flip=False, fill=-2.0)(torch.ones(200, 1, 1, 1), generator("cpu", 0))
    assert set(seen.flatten().tolist()) == {1.0, -2.0}


def test_rotation_against_torchvision() -> None:
    """One image after the other, by the angles that the generator draws."""
    functional = pytest.importorskip("torchvision.transforms.functional", reason="torchvision rotates the reference")
    images = torch.nn.functional.pad(torch.rand(6, 2, 20, 20), [4] * 4, value=-1.0)
    angles = 5 * (2 * torch.rand(6, generator=generator("cpu", 3)) - 1)
    expected = [functional.rotate(x, float(a), fill=-1.0) for x, a in zip(images, angles, strict=True)]
    found = rotate(5)(images, generator("cpu", 3))
    assert float((found - torch.stack(expected)).ne(0).float().mean()) < 1e-3  # a tie between two pixels
    assert not torch.equal(found, images)


def test_a_rotation_by_nothing_changes_nothing() -> None:
    images = torch.randn(3, 1, 7, 7)
    assert torch.equal(rotate(0)(images, generator("cpu", 0)), images)


def loader(n: int = 10, size: int = 4) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(Examples(torch.arange(n).float().view(n, 1), torch.arange(n)), size)


def test_loader_data_goes_round_and_round() -> None:
    data = LoaderData(loader())
    seen = [data.batch(99, seed=0, step=step)[1].tolist() for step in range(4)]
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [0, 1, 2, 3]]
    assert not data.repeatable and len(data) == 10


def test_loader_data_evaluates_on_its_own_loader() -> None:
    data = LoaderData(loader(), evaluation=loader(6, 3)).to(torch.device("cpu"))
    assert [t.tolist() for _, t in data.batches(99)] == [[0, 1, 2], [3, 4, 5]]
    assert [t.tolist() for _, t in data.batches(99, limit=2)] == [[0, 1]]
    assert len(data) == 6


def test_evaluation_does_not_disturb_the_training_stream() -> None:
    data = LoaderData(loader())
    data.batch(4, 0, 0)
    assert sum(batch_size(b) for b in data.batches(4)) == 10
    assert data.batch(4, 0, 1)[1].tolist() == [4, 5, 6, 7]


def test_a_loader_without_batches_is_named() -> None:
    with pytest.raises(TaskError, match="no batch"):
        LoaderData([]).batch(4, 0, 0)


def test_nested_batches_are_moved_whole() -> None:
    batch = {"input_ids": torch.zeros(3, 2), "more": (torch.ones(3), "text", [torch.zeros(3)])}
    moved = move_batch(batch, torch.device("meta"))
    assert moved["input_ids"].device.type == moved["more"][0].device.type == moved["more"][2][0].device.type == "meta"
    assert moved["more"][1] == "text" and batch_size(batch) == 3


class Opened(Dataset[Any]):
    """Its file is opened in a worker, as those are that cannot be shared by processes."""

    file: list[float] | None = None

    def __len__(self) -> int:
        return 40

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        assert self.file is not None
        return torch.full((2,), self.file[i]), i % 2


def opened(_worker: int) -> None:
    info = get_worker_info()
    assert info is not None
    info.dataset.file = [float(i) for i in range(40)]


def test_a_sample_of_data_that_only_workers_can_read() -> None:
    loader = DataLoader(Opened(), 8, num_workers=2, worker_init_fn=opened)
    drawn = LoaderData([], loader).draw(10, seed=0)
    assert len(drawn) == 10
