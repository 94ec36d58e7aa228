"""The segmentation model: uint8 images in, logits out; `create_model`."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pixelwise.data.pixel_scale import PixelScale
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import ConfigError
from pixelwise.models.config import ModelConfig
from pixelwise.models.decoders import DECODERS
from pixelwise.models.encoder import FreezeMode
from pixelwise.models.model import SegmentationModel, create_model
from pixelwise.models.pretrained import load_pretrained_weights
from tests.models.helpers import CLASSES, build_model, make_images


def encoder_input(model: SegmentationModel, images: Tensor) -> Tensor:
    """Return the pixels that the encoder gets for these images."""
    recorded: list[Tensor] = []
    handle = model.encoder.register_forward_pre_hook(lambda _, inputs: recorded.append(inputs[0].clone()))
    with torch.no_grad():
        model.eval()(images)
    handle.remove()
    return recorded[0]


class TestForward:
    @pytest.mark.parametrize("decoder", DECODERS)
    @pytest.mark.parametrize("size", [(64, 64), (65, 97)], ids=str)
    def test_logits_of_uint8_images(self, decoder: str, size: tuple[int, int]) -> None:
        with torch.no_grad():
            logits = build_model(decoder=decoder).eval()(make_images(2, size))
        assert logits.shape == (2, 3, *size)
        assert logits.dtype == torch.float32
        assert torch.isfinite(logits).all()
        assert not torch.equal(logits[0], logits[1])

    def test_it_normalizes_encodes_and_decodes(self) -> None:
        model = build_model().eval()
        images = make_images()
        pixels = (images.float() - model.mean) / model.std
        with torch.no_grad():
            expected = model.decoder(model.encoder(pixels), (64, 64))
            assert torch.equal(model(images), expected)


class TestNormalization:
    def test_the_preset_of_the_tutorial_scales_pixels_to_0_and_1(self) -> None:
        model = build_model("tutorial", encoder_weights="none", encoder="mobilenetv2_100")
        values = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(1, 3, 4, 4)
        assert torch.equal(encoder_input(model, values), values.float() / 255)

    def test_the_default_is_the_normalization_of_efficientnet_lite(self) -> None:
        model = build_model(encoder="tf_efficientnet_lite0", encoder_weights="bundled")
        images = make_images()
        assert torch.equal(encoder_input(model, images), (images.float() - 127) / 128)

    def test_each_channel_has_its_own_mean_and_std(self) -> None:
        images = make_images()
        pixels = encoder_input(build_model(encoder="resnet18"), images)
        for channel, (mean, std) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
            expected = (images[:, channel] / 255 - mean) / std
            torch.testing.assert_close(pixels[:, channel], expected, rtol=1e-4, atol=1e-5)

    def test_unit_normalization_is_possible_with_any_encoder(self) -> None:
        images = make_images()
        assert torch.equal(
            encoder_input(build_model(encoder="resnet18", normalization="unit"), images), images.float() / 255
        )


class TestConfigCreateModel:
    def test_the_model_of_the_tutorial(self) -> None:
        model = build_model("tutorial", encoder_weights="none", encoder="mobilenetv2_100", freeze_encoder=True)
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert trainable == 4_660_323
        assert model.encoder.out_channels == (96, 144, 192, 576, 320)

    def test_freezing_is_a_setting(self) -> None:
        frozen = build_model(freeze_encoder=True)
        assert frozen.encoder.freeze_mode is FreezeMode.FROZEN
        assert not any(p.requires_grad for p in frozen.encoder.parameters())
        assert all(p.requires_grad for p in build_model(encoder_training="all").parameters())
        later = build_model(encoder_training="decoder-first", freeze_depthwise=True, freeze_batchnorm=True).train()
        assert later.encoder.freeze_mode is FreezeMode.DECODER_FIRST
        convolutions = [m for m in later.encoder.modules() if isinstance(m, nn.Conv2d)]
        assert all(conv.weight.requires_grad == (conv.groups == 1) for conv in convolutions)
        assert not any(m.training for m in later.encoder.modules() if isinstance(m, nn.BatchNorm2d))

    def test_a_random_encoder_trains_by_default(self) -> None:
        model = build_model()
        assert model.encoder.freeze_mode is FreezeMode.TRAINABLE and not model.encoder.pretrained
        assert all(p.requires_grad for p in model.parameters())

    def test_two_sizes_need_an_encoder_that_accepts_both(self) -> None:
        with pytest.raises(ConfigError, match=r"accepts images of one size.*224 px.*448 px; set `eval_scale` to 1"):
            build_model(encoder="vit_tiny_patch16_224", image_size=224, eval_scale=2.0)

    @pytest.mark.parametrize(
        ("settings", "factor"),
        [
            ({"mosaic": 0.5}, 2),
            ({}, 1),
            ({"mosaic": 0.5, "view": "tiles"}, 1),
            ({"mosaic": 0.5, "encoder": "vit_tiny_patch16_224", "image_size": 224}, 1),
        ],
    )
    def test_a_model_that_knows_mosaics_takes_larger_windows(self, settings: dict[str, Any], factor: int) -> None:
        assert build_model(**settings).config.window_factor == factor

    def test_training_changes_the_decoder_and_not_a_frozen_encoder(self) -> None:
        model = build_model(freeze_encoder=True).train()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        model(make_images()).square().mean().backward()
        optimizer.step()
        moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
        assert moved and all(name.startswith("decoder.") for name in moved)

    def test_unknown_encoder(self) -> None:
        with pytest.raises(ConfigError, match=r"unknown encoder 'resnet19'.*resnet18"):
            build_model(encoder="resnet19")


class TestCreateModel:
    def test_the_number_of_classes_is_enough(self) -> None:
        model = create_model("mobilenetv3_small_050", classes=3, encoder_weights="none", image_size=64)
        assert len(model.config.classes) == len(model.config.palette) == len(set(model.config.classes)) == 3
        assert model.eval()(make_images()).shape == (2, 3, 64, 64)
        assert all(p.requires_grad for p in model.parameters())

    def test_settings_are_in_the_configuration(self) -> None:
        model = create_model(
            "mobilenetv3_small_050",
            {"name": "pix2pix", "max_filters": 64},
            CLASSES,
            encoder_weights="none",
            channels=4,
            pixel_scale=PixelScale(bit_depth=12, nodata=7.0),
            task="multilabel",
            image_size=96,
        )
        config = model.config
        assert (config.classes, config.size, config.task) == (CLASSES, 96, MULTILABEL)
        assert config.pixel_scale == PixelScale(bit_depth=12, nodata=7.0)
        assert config.decoder == {"name": "pix2pix", "max_filters": 64}
        assert config.mean == config.std == (127.5,) * 4
        assert model(torch.zeros(2, 4, 96, 96, dtype=torch.uint8)).shape == (2, 3, 96, 96)

    def test_pretrained_weights_are_in_the_encoder(self) -> None:
        model = create_model("tf_efficientnet_lite0", classes=2)
        assert model.encoder.pretrained
        expected = load_pretrained_weights("tf_efficientnet_lite0").tensors
        assert expected is not None
        assert torch.equal(model.encoder.backbone.state_dict()["conv_stem.weight"], expected["conv_stem.weight"])

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"encoder": "resnet19"}, "unknown encoder 'resnet19'"),
            ({"decoder": "unet"}, "unknown decoder 'unet'"),
            ({"decoder": {"name": "fpn", "depth": 2}}, "decoder 'fpn' has no parameter 'depth'"),
            ({"task": "binary"}, "unknown task 'binary'"),
        ],
    )
    def test_unknown_names(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            create_model(**({"encoder": "mobilenetv3_small_050", "encoder_weights": "none"} | settings))


def test_a_configuration_refuses_unknown_fields() -> None:
    config = build_model().config
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValueError, match="extra"):
        ModelConfig.model_validate({**config.model_dump(), "color": "red"})


def test_logits_do_not_depend_on_the_memory_layout() -> None:
    model = build_model().eval()
    images = make_images()
    with torch.no_grad():
        one = model(images)
        other = model(images.contiguous(memory_format=torch.channels_last))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
