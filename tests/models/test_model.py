"""The whole model: raw pixels in, logits out, and what its two files hold."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pixelwise.config import Config
from pixelwise.errors import ConfigError, RunError
from pixelwise.models.config import ModelConfig
from pixelwise.models.decoders import DECODERS
from pixelwise.models.model import CONFIG_FILE, WEIGHTS_FILE, SegmentationModel

CLASSES, PALETTE = ("cat", "dog", "rest"), ((1, 2, 3), (4, 5, 6), (250, 251, 252))


def build(**settings: object) -> SegmentationModel:
    torch.manual_seed(0)
    asked = {"encoder": "mobilenetv3_small_050", "encoder_weights": "none", "size": 64} | settings
    return Config.from_preset(**asked).create_model(CLASSES, PALETTE)  # type: ignore[arg-type]


def make_images(count: int = 2, size: tuple[int, int] = (64, 64)) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=generator)


def seen_by_encoder(model: SegmentationModel, images: Tensor) -> Tensor:
    """What the encoder is given for these images."""
    seen: list[Tensor] = []
    handle = model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    with torch.no_grad():
        model.eval()(images)
    handle.remove()
    return seen[0]


class TestForward:
    @pytest.mark.parametrize("decoder", DECODERS)
    @pytest.mark.parametrize("size", [(64, 64), (65, 97)], ids=str)
    def test_uint8_in_logits_out(self, decoder: str, size: tuple[int, int]) -> None:
        with torch.no_grad():
            logits = build(decoder=decoder).eval()(make_images(2, size))
        assert logits.shape == (2, 3, *size)
        assert logits.dtype == torch.float32
        assert torch.isfinite(logits).all()
        assert not torch.equal(logits[0], logits[1])

    def test_it_is_normalize_encode_decode(self) -> None:
        model = build().eval()
        images = make_images()
        by_hand = (images.float() - model.mean) / model.std
        with torch.no_grad():
            expected = model.decoder(model.encoder(by_hand), (64, 64))
            assert torch.equal(model(images), expected)


class TestPixels:
    def test_the_tutorials_are_exactly_in_0_to_1(self) -> None:
        # The tutorial's layers at random: its weights are not needed for this.
        model = build(preset="tutorial", encoder_weights="none", encoder="mobilenetv2_100")
        levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(1, 3, 4, 4)
        assert torch.equal(seen_by_encoder(model, levels), levels.float() / 255)

    def test_the_defaults_are_efficientnet_lites_own(self) -> None:
        model = build(encoder="tf_efficientnet_lite0", encoder_weights="embedded")
        images = make_images()
        assert torch.equal(seen_by_encoder(model, images), (images.float() - 127) / 128)

    def test_each_channel_has_its_own_mean_and_std(self) -> None:
        images = make_images()
        seen = seen_by_encoder(build(encoder="resnet18"), images)
        for channel, (mean, std) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
            expected = (images[:, channel] / 255 - mean) / std
            torch.testing.assert_close(seen[:, channel], expected, rtol=1e-4, atol=1e-5)

    def test_unit_is_a_setting_for_any_encoder(self) -> None:
        images = make_images()
        assert torch.equal(seen_by_encoder(build(encoder="resnet18", pixels="unit"), images), images.float() / 255)


class TestBuild:
    def test_the_tutorials_model(self) -> None:
        model = build(preset="tutorial", encoder_weights="none", encoder="mobilenetv2_100", freeze_encoder=True)
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert trainable == 4_660_323
        assert model.encoder.out_channels == (96, 144, 192, 576, 320)

    def test_freezing_is_a_setting(self) -> None:
        assert not any(p.requires_grad for p in build(freeze_encoder=True).encoder.parameters())
        assert all(p.requires_grad for p in build(freeze_encoder=False).parameters())

    def test_training_moves_the_decoder_and_leaves_a_frozen_encoder(self) -> None:
        model = build(freeze_encoder=True).train()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        model(make_images()).square().mean().backward()
        optimizer.step()
        moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
        assert moved and all(name.startswith("decoder.") for name in moved)

    def test_unknown_encoder(self) -> None:
        with pytest.raises(ConfigError, match=r"unknown encoder 'resnet19'.*resnet18"):
            build(encoder="resnet19")


class TestSaveAndLoad:
    @pytest.mark.parametrize("decoder", DECODERS)
    @pytest.mark.parametrize(
        "encoder",
        [
            {"encoder": "mobilenetv3_small_050"},
            {
                "encoder": "mobilenetv2_050",
                "layers": ("blocks.1.0.bn1", "blocks.6.0.conv_pwl"),
                "encoder_padding": "same",
            },
        ],
        ids=["levels", "layers"],
    )
    def test_identical_logits(self, decoder: str, encoder: dict[str, object], tmp_path: Path) -> None:
        model = build(decoder=decoder, **encoder)
        model.train()(make_images())  # so that batch-norm statistics are not those of a fresh model
        model.eval().save(tmp_path, {"val_miou": 0.5})
        loaded = SegmentationModel.load(tmp_path)
        assert not loaded.training
        with torch.no_grad():
            assert torch.equal(loaded(make_images(size=(64, 80))), model(make_images(size=(64, 80))))

    def test_no_pickle_and_nothing_but_the_two_files(self, tmp_path: Path) -> None:
        build().save(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {WEIGHTS_FILE, CONFIG_FILE}
        assert load_file(tmp_path / WEIGHTS_FILE)
        assert json.loads((tmp_path / CONFIG_FILE).read_text(encoding="utf-8"))

    def test_the_card_holds_all_that_is_needed(self, tmp_path: Path) -> None:
        model = build(preset="tutorial", encoder="mobilenetv2_050", encoder_weights="none", padding="same")
        model.save(tmp_path, {"val_miou": 0.25, "iou_cat": None})
        card = json.loads((tmp_path / CONFIG_FILE).read_text(encoding="utf-8"))
        assert card["classes"] == list(CLASSES)
        assert card["palette"] == [list(color) for color in PALETTE]
        assert (card["size"], card["mean"], card["std"]) == (64, [0.0] * 3, [255.0] * 3)
        assert (card["encoder"], card["decoder"], card["encoder_padding"]) == ("mobilenetv2_050", "pix2pix", "same")
        assert card["metrics"] == {"val_miou": 0.25, "iou_cat": None}
        assert "mean" not in load_file(tmp_path / WEIGHTS_FILE), "stored twice"

    def test_padding_and_layers_come_back(self, tmp_path: Path) -> None:
        layers = ("blocks.1.0.bn1", "blocks.2.0.bn1")
        build(encoder="mobilenetv2_050", layers=layers, padding="same").save(tmp_path)
        loaded = SegmentationModel.load(tmp_path)
        assert loaded.encoder.feature_names == layers and loaded.config.encoder_layers == layers
        assert type(loaded.encoder.backbone.get_submodule("conv_stem")).__name__ == "Conv2dSame"

    def test_saving_over_an_earlier_model_replaces_it(self, tmp_path: Path) -> None:
        model = build()
        model.save(tmp_path, {"val_miou": 0.1})
        torch.nn.init.constant_(next(model.decoder.parameters()), 0.5)
        model.save(tmp_path, {"val_miou": 0.2})
        loaded = SegmentationModel.load(tmp_path)
        assert loaded.config.metrics == {"val_miou": 0.2}
        assert (next(loaded.decoder.parameters()) == 0.5).all()


def _drop_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    del tensors[next(name for name in tensors if name.startswith("decoder"))]
    save_file(tensors, folder / WEIGHTS_FILE)


def _truncate(folder: Path) -> None:
    data = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(data[: len(data) // 2])


def _card(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        card = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        (folder / CONFIG_FILE).write_text(json.dumps(card | changes), encoding="utf-8")

    return change


BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no card": (lambda f: (f / CONFIG_FILE).unlink(), r"model\.json: no model here"),
    "no weights": (lambda f: (f / WEIGHTS_FILE).unlink(), r"no model here"),
    "an empty card": (lambda f: (f / CONFIG_FILE).write_text(""), "cannot be read"),
    "half a card": (lambda f: (f / CONFIG_FILE).write_text('{"classes": ["cat"'), "cannot be read"),
    "a card in no text": (lambda f: (f / CONFIG_FILE).write_bytes(b"\xff\xfe\x00\x81"), "cannot be read"),
    "a card of another kind": (lambda f: (f / CONFIG_FILE).write_text('{"title": 1}'), "cannot be read"),
    "half the weights": (_truncate, "cannot be read"),
    "weights of no kind": (lambda f: (f / WEIGHTS_FILE).write_bytes(b"pickle"), "cannot be read"),
    "a tensor too few": (_drop_a_tensor, "not the weights"),
    "more classes": (_card(classes=["a", "b", "c", "d"]), "not the weights"),
    "another decoder": (_card(decoder="pix2pix"), "not the weights"),
    "an unknown decoder": (_card(decoder="heavy"), "unknown decoder 'heavy'"),
    "an unknown encoder": (_card(encoder="resnet19"), "resnet19"),
    "a later format": (_card(format=99), "format"),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_model_is_told_in_one_line(broken: str, tmp_path: Path) -> None:
    build(decoder="light").save(tmp_path)
    breaking, said = BREAKS[broken]
    breaking(tmp_path)
    with pytest.raises(RunError, match=said) as caught:
        SegmentationModel.load(tmp_path)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 500
    assert str(tmp_path) in text


def test_a_card_refuses_what_it_does_not_know() -> None:
    card = build().config
    assert ModelConfig.model_validate_json(card.model_dump_json()) == card
    with pytest.raises(ValueError, match="extra"):
        ModelConfig.model_validate({**card.model_dump(), "color": "red"})


def test_logits_do_not_depend_on_the_memory_layout() -> None:
    model = build().eval()
    images = make_images()
    with torch.no_grad():
        one = model(images)
        other = model(images.contiguous(memory_format=torch.channels_last))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
