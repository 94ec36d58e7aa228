"""Loss objects from Python: their signatures, ignored pixels, and the losses of segmentation_models_pytorch."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pixelwise as pw
from pixelwise.data.task import MULTICLASS, MULTILABEL
from pixelwise.errors import ConfigError
from pixelwise.losses import LOSSES, adapt_loss, get_loss, list_losses
from pixelwise.losses.custom import describe_loss, takes_pixel_weights
from pixelwise.losses.multiclass import cross_entropy


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def mask() -> Tensor:
    """A mask without ignored pixels."""
    return torch.randint(0, 3, (2, 6, 5), generator=torch.Generator().manual_seed(2)).to(torch.uint8)


@pytest.fixture
def mask_with_ignored(mask: Tensor) -> Tensor:
    mask = mask.clone()
    mask[:, :2] = 255
    return mask


class TestMulticlass:
    @pytest.mark.parametrize("ignore_index", [255, -100])
    def test_torchs_ignore_index_is_used(self, logits: Tensor, mask_with_ignored: Tensor, ignore_index: int) -> None:
        loss = adapt_loss(nn.CrossEntropyLoss(ignore_index=ignore_index), MULTICLASS)
        torch.testing.assert_close(loss(logits, mask_with_ignored), cross_entropy(logits, mask_with_ignored))

    def test_without_an_ignore_index_ignored_pixels_have_no_influence(
        self, logits: Tensor, mask: Tensor, mask_with_ignored: Tensor
    ) -> None:
        def plain(logits: Tensor, target: Tensor) -> Tensor:
            return nn.functional.cross_entropy(logits, target)

        loss = adapt_loss(plain, MULTICLASS)
        torch.testing.assert_close(loss(logits, mask_with_ignored), cross_entropy(logits, mask_with_ignored))
        changed = logits.clone()
        changed[:, :, :2] += 100 * torch.randn(2, 3, 2, 5)
        torch.testing.assert_close(loss(changed, mask_with_ignored), loss(logits, mask_with_ignored))
        torch.testing.assert_close(loss(logits, mask), cross_entropy(logits, mask))

    def test_an_image_without_any_valid_pixel(self, logits: Tensor) -> None:
        logits.requires_grad_()
        loss = adapt_loss(lambda logits, target: nn.functional.cross_entropy(logits, target), MULTICLASS)
        value = loss(logits, torch.full((2, 6, 5), 255, dtype=torch.uint8))
        value.backward()
        assert value == 0 and logits.grad is not None and not logits.grad.any()

    def test_images_keep_their_shape_if_nothing_is_ignored(self, logits: Tensor, mask: Tensor) -> None:
        shapes = []

        def keep_shapes(logits: Tensor, target: Tensor) -> Tensor:
            shapes.append((logits.shape, target.shape, target.dtype))
            return logits.mean()

        adapt_loss(keep_shapes, MULTICLASS)(logits, mask)
        assert shapes == [((2, 3, 6, 5), (2, 6, 5), torch.int64)]

    def test_a_loss_with_pixel_weights_is_used_as_it_is(self, logits: Tensor, mask: Tensor) -> None:
        assert adapt_loss(cross_entropy, MULTICLASS) is cross_entropy
        assert takes_pixel_weights(cross_entropy) and not takes_pixel_weights(nn.CrossEntropyLoss())

    def test_pixel_weights_need_the_argument(self, logits: Tensor, mask: Tensor) -> None:
        with pytest.raises(ConfigError, match=r"no argument `pixel_weights`"):
            adapt_loss(nn.CrossEntropyLoss(), MULTICLASS)(logits, mask, torch.ones(2, 6, 5))

    @pytest.mark.parametrize("name", ["LovaszLoss", "DiceLoss", "JaccardLoss", "FocalLoss"])
    def test_losses_of_segmentation_models_pytorch(self, logits: Tensor, mask_with_ignored: Tensor, name: str) -> None:
        smp = pytest.importorskip("segmentation_models_pytorch")
        create = getattr(smp.losses, name)
        created = [create("multiclass")] + ([] if name == "JaccardLoss" else [create("multiclass", ignore_index=255)])
        changed = logits.clone()
        changed[:, :, :2] += torch.randn(2, 3, 2, 5)
        for loss in (adapt_loss(each, MULTICLASS) for each in created):
            logits.requires_grad_()
            value = loss(logits, mask_with_ignored)
            value.backward()
            assert value.ndim == 0 and torch.isfinite(value) and logits.grad is not None and logits.grad.abs().sum() > 0
            torch.testing.assert_close(loss(changed, mask_with_ignored), value)
            logits = logits.detach()


class TestMultilabel:
    def test_ignored_values_count_as_correct(self, logits: Tensor) -> None:
        mask = torch.randint(0, 2, (2, 3, 6, 5), dtype=torch.uint8)
        mask[:, :, 0] = 255
        loss = adapt_loss(nn.BCEWithLogitsLoss(reduction="sum"), MULTILABEL)
        expected = nn.functional.binary_cross_entropy_with_logits(
            logits[:, :, 1:], mask[:, :, 1:].float(), reduction="sum"
        )
        torch.testing.assert_close(loss(logits, mask), expected)

    def test_a_loss_of_segmentation_models_pytorch(self, logits: Tensor) -> None:
        smp = pytest.importorskip("segmentation_models_pytorch")
        mask = torch.randint(0, 2, (2, 3, 6, 5), dtype=torch.uint8)
        mask[0, 1, 0] = 255
        for ignore_index in (None, 255):
            loss = adapt_loss(smp.losses.SoftBCEWithLogitsLoss(ignore_index=ignore_index), MULTILABEL)
            assert torch.isfinite(loss(logits, mask))


class TestRecord:
    @pytest.mark.parametrize(
        ("loss", "name"),
        [
            (nn.CrossEntropyLoss(), "torch.nn.modules.loss.CrossEntropyLoss"),
            (cross_entropy, "pixelwise.losses.multiclass.cross_entropy"),
        ],
        ids=["object", "function"],
    )
    def test_a_config_records_the_type(self, loss: Any, name: str) -> None:
        config = pw.Config(encoder_weights="none", loss=describe_loss(loss))
        assert config.loss == {"name": "custom", "type": name}

    def test_the_record_is_no_choice(self) -> None:
        assert "custom" not in list_losses() and "custom" not in list(LOSSES)
        with pytest.raises(ConfigError, match=r"unknown loss 'l2'; choose from: cross_entropy") as caught:
            get_loss("l2", MULTICLASS)
        assert "custom" not in str(caught.value)

    def test_something_that_cannot_be_called(self) -> None:
        with pytest.raises(ConfigError, match=r"`loss`: must be a name, a mapping or a callable \(got 3\)"):
            adapt_loss(3, MULTICLASS)  # type: ignore[arg-type]
