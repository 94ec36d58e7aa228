"""Batches that do not fit in memory: they are halved, and their gradients stay the same."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pixelwise as pw
from pixelwise.errors import ConfigError
from pixelwise.losses.multiclass import cross_entropy
from pixelwise.training.passes import add_gradients, run_in_parts
from tests.training.helpers import SMALL


class Limited(nn.Module):
    """A convolution that runs out of memory with more than `limit` images."""

    def __init__(self, limit: int, error: type[Exception] = RuntimeError) -> None:
        super().__init__()
        self.limit, self.error = limit, error
        self.sizes: list[int] = []
        self.encoder = SimpleNamespace(reductions=(8, 32))
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        if len(images) > self.limit:
            raise self.error("CUDA out of memory. Tried to allocate 2.00 GiB")
        result: Tensor = self.conv(images)
        return result


def make_setup(model: Limited, batch_size: int = 8, image_size: int = 64, world_size: int = 1) -> Any:
    fabric = SimpleNamespace(backward=Tensor.backward, world_size=world_size, global_rank=1, device=torch.device("cpu"))
    return SimpleNamespace(
        config=SimpleNamespace(batch_size=batch_size, image_size=image_size, smallest_size=image_size, accumulate=1),
        fabric=fabric,
        model=model,
        ddp_model=model,
        loss=SimpleNamespace(weighted=lambda logits, masks: nn.functional.cross_entropy(logits, masks)),
        optimizer=torch.optim.SGD(model.parameters(), lr=1.0),
        pass_size=None,
        graphs=None,
        feature_table=None,
    )


def make_batch(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 3, 4, 4, generator=generator)
    return images, torch.randint(0, 2, (count, 4, 4), generator=generator)


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
@pytest.mark.parametrize(("count", "limit", "pass_size"), [(8, 8, None), (8, 4, 4), (8, 3, 2), (7, 2, 1), (8, 1, 1)])
def test_the_gradients_of_the_parts_are_those_of_the_batch(
    count: int, limit: int, pass_size: int | None, error: type[Exception]
) -> None:
    images, masks = make_batch(count)
    expected, limited = make_setup(Limited(count)), make_setup(Limited(limit, error))
    losses = [add_gradients(setup, [(images, masks)], count)[0] for setup in (expected, limited)]
    assert limited.pass_size == pass_size
    assert max(size for size in limited.model.sizes if size <= limit) <= limit
    torch.testing.assert_close(losses[0], losses[1])
    assert not losses[1].requires_grad
    torch.testing.assert_close(limited.model.conv.weight.grad, expected.model.conv.weight.grad)
    # Later batches are not tried whole again.
    limited.model.sizes.clear()
    add_gradients(limited, [(images, masks)], count)
    assert max(limited.model.sizes) <= limit


def test_gradients_of_parts_before_the_failure_do_not_count_twice() -> None:
    class FailsOnce(Limited):
        """Runs out of memory in the second pass, after the gradients of the first part are added."""

        def forward(self, images: Tensor) -> Tensor:
            self.limit = 0 if len(self.sizes) == 1 else 8
            return super().forward(images)

    images, masks = make_batch(8)
    expected, later = make_setup(Limited(8)), make_setup(FailsOnce(8))
    later.pass_size = 4
    for setup in (expected, later):
        add_gradients(setup, [(images, masks)], 8)
    assert later.model.sizes == [4, 4, 2, 2, 2, 2]
    torch.testing.assert_close(later.model.conv.weight.grad, expected.model.conv.weight.grad)


class Unsynchronized:
    """Counts the blocks in which processes do not exchange gradients."""

    def __init__(self) -> None:
        self.blocks: list[int] = []

    @contextmanager
    def __call__(self, model: Limited) -> Iterator[None]:
        passes = len(model.sizes)
        yield
        self.blocks.append(len(model.sizes) - passes)


@pytest.mark.parametrize("limit", [8, 3], ids=["enough memory", "memory runs out"])
def test_the_gradients_of_several_batches_are_those_of_all_images(limit: int) -> None:
    images, masks = make_batch(11)
    expected, accumulated = make_setup(Limited(11)), make_setup(Limited(limit))
    accumulated.fabric.no_backward_sync = Unsynchronized()
    whole = add_gradients(expected, [(images, masks)], 11)[0]
    batches = list(zip(images.split(4), masks.split(4), strict=True))  # 4, 4 and 3 images
    losses = add_gradients(accumulated, batches, 11)
    assert len(losses) == 3
    torch.testing.assert_close(sum(loss * len(part[0]) for loss, part in zip(losses, batches, strict=True)) / 11, whole)
    torch.testing.assert_close(accumulated.model.conv.weight.grad, expected.model.conv.weight.grad)
    # Only the last batch of a step is outside of the blocks. If memory runs out, all batches are computed again.
    assert accumulated.fabric.no_backward_sync.blocks == ([1, 1] if limit == 8 else [3, 2, 2, 2])


def test_what_halving_cannot_solve() -> None:
    images, masks = make_batch(2)
    message = r"memory does not suffice for 1 image of 64 px \(CUDA out of memory.*\); lower `image_size`"
    with pytest.raises(ConfigError, match=message):
        add_gradients(make_setup(Limited(0)), [(images, masks)], 2)
    with pytest.raises(ConfigError, match=r"does not suffice for 2 images of 32 px"):
        add_gradients(make_setup(Limited(1), image_size=32), [(images, masks)], 2)  # batch norm needs two
    with pytest.raises(ConfigError, match=r"ran out in process 1 with 2 of the 8 .* a new run with `batch_size` 4"):
        add_gradients(make_setup(Limited(1), world_size=2), [(images, masks)], 2)


def test_other_errors_are_not_repeated() -> None:
    def fail(images: Tensor, masks: Tensor) -> None:
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        run_in_parts(make_setup(Limited(8)), *make_batch(4), fail)


@pytest.mark.integration
def test_a_training_goes_on_with_half_of_the_batch(
    pets: pw.DatasetIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sizes: list[int] = []

    def limited(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
        if len(logits) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")
        sizes.append(len(logits))
        return cross_entropy(logits, mask, pixel_weights)

    with caplog.at_level(logging.WARNING, logger="pixelwise"):
        # Features of 2x2 pixels, so that batch norm works with one image.
        run = pw.train(pets, tmp_path / "run", loss=limited, **SMALL | {"epochs": 1, "image_size": 64})
    (warning,) = [message for message in caplog.messages if "memory ran out" in message]
    assert "with 4 images at once" in warning and "now 2 at once. A step still has 4 images" in warning
    assert set(sizes) <= {1, 2} and len(run.read_metrics()) == 1
    assert run.config.batch_size == 4
