"""The segmentation model: uint8 images in, logits out; its files; `create_model`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pixelwise.config import Config
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import ConfigError, RunError
from pixelwise.models.config import ModelConfig
from pixelwise.models.decoders import DECODERS
from pixelwise.models.encoder import FreezeMode
from pixelwise.models.model import CONFIG_FILE, METADATA_KEY, WEIGHTS_FILE, SegmentationModel, create_model
from pixelwise.models.pretrained import load_pretrained_weights

CLASSES, PALETTE = ("cat", "dog", "rest"), ((1, 2, 3), (4, 5, 6), (250, 251, 252))


def build(preset: str = "default", **settings: Any) -> SegmentationModel:
    torch.manual_seed(0)
    merged: dict[str, Any] = {
        "encoder": "mobilenetv3_small_050",
        "encoder_weights": "none",
        "image_size": 64,
    } | settings
    return Config.from_preset(preset, **merged, device="cpu").create_model(CLASSES, PALETTE)


def make_images(count: int = 2, size: tuple[int, int] = (64, 64)) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=generator)


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
            logits = build(decoder=decoder).eval()(make_images(2, size))
        assert logits.shape == (2, 3, *size)
        assert logits.dtype == torch.float32
        assert torch.isfinite(logits).all()
        assert not torch.equal(logits[0], logits[1])

    def test_it_normalizes_encodes_and_decodes(self) -> None:
        model = build().eval()
        images = make_images()
        pixels = (images.float() - model.mean) / model.std
        with torch.no_grad():
            expected = model.decoder(model.encoder(pixels), (64, 64))
            assert torch.equal(model(images), expected)


class TestNormalization:
    def test_the_preset_of_the_tutorial_scales_pixels_to_0_and_1(self) -> None:
        model = build("tutorial", encoder_weights="none", encoder="mobilenetv2_100")
        values = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(1, 3, 4, 4)
        assert torch.equal(encoder_input(model, values), values.float() / 255)

    def test_the_default_is_the_normalization_of_efficientnet_lite(self) -> None:
        model = build(encoder="tf_efficientnet_lite0", encoder_weights="bundled")
        images = make_images()
        assert torch.equal(encoder_input(model, images), (images.float() - 127) / 128)

    def test_each_channel_has_its_own_mean_and_std(self) -> None:
        images = make_images()
        pixels = encoder_input(build(encoder="resnet18"), images)
        for channel, (mean, std) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
            expected = (images[:, channel] / 255 - mean) / std
            torch.testing.assert_close(pixels[:, channel], expected, rtol=1e-4, atol=1e-5)

    def test_unit_normalization_is_possible_with_any_encoder(self) -> None:
        images = make_images()
        assert torch.equal(encoder_input(build(encoder="resnet18", normalization="unit"), images), images.float() / 255)


class TestConfigCreateModel:
    def test_the_model_of_the_tutorial(self) -> None:
        model = build("tutorial", encoder_weights="none", encoder="mobilenetv2_100", freeze_encoder=True)
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert trainable == 4_660_323
        assert model.encoder.out_channels == (96, 144, 192, 576, 320)

    def test_freezing_is_a_setting(self) -> None:
        frozen = build(freeze_encoder=True)
        assert frozen.encoder.freeze_mode is FreezeMode.FROZEN
        assert not any(p.requires_grad for p in frozen.encoder.parameters())
        assert all(p.requires_grad for p in build(encoder_training="all").parameters())
        later = build(encoder_training="decoder-first", freeze_depthwise=True, freeze_batchnorm=True).train()
        assert later.encoder.freeze_mode is FreezeMode.DECODER_FIRST
        convolutions = [m for m in later.encoder.modules() if isinstance(m, nn.Conv2d)]
        assert all(conv.weight.requires_grad == (conv.groups == 1) for conv in convolutions)
        assert not any(m.training for m in later.encoder.modules() if isinstance(m, nn.BatchNorm2d))

    def test_a_random_encoder_trains_by_default(self) -> None:
        model = build()
        assert model.encoder.freeze_mode is FreezeMode.TRAINABLE and not model.encoder.pretrained
        assert all(p.requires_grad for p in model.parameters())

    def test_two_sizes_need_an_encoder_that_accepts_both(self) -> None:
        with pytest.raises(ConfigError, match=r"accepts images of one size.*224 px.*448 px; set `eval_scale` to 1"):
            build(encoder="vit_tiny_patch16_224", image_size=224, eval_scale=2.0)

    def test_training_changes_the_decoder_and_not_a_frozen_encoder(self) -> None:
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
    @pytest.mark.parametrize("decoder", ["fpn", "pix2pix"])
    @pytest.mark.parametrize(
        "encoder",
        [
            {"encoder": "mobilenetv3_small_050"},
            {
                "encoder": "mobilenetv2_050",
                "encoder_layers": ("blocks.1.0.bn1", "blocks.6.0.conv_pwl"),
                "encoder_padding": "same",
            },
        ],
        ids=["stages", "layers"],
    )
    def test_a_loaded_model_has_the_same_logits(self, decoder: str, encoder: dict[str, Any], tmp_path: Path) -> None:
        model = build(decoder=decoder, **encoder)
        model.train()(make_images())  # changes the batch norm statistics
        model.eval().save(tmp_path, {"val_miou": 0.5})
        loaded = SegmentationModel.load(tmp_path)
        assert not loaded.training
        with torch.no_grad():
            assert torch.equal(loaded(make_images(size=(64, 80))), model(make_images(size=(64, 80))))

    def test_it_writes_two_files_without_pickle(self, tmp_path: Path) -> None:
        build().save(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {WEIGHTS_FILE, CONFIG_FILE}
        assert load_file(tmp_path / WEIGHTS_FILE)
        assert json.loads((tmp_path / CONFIG_FILE).read_text(encoding="utf-8"))

    def test_model_json_has_the_configuration(self, tmp_path: Path) -> None:
        model = build("tutorial", encoder="mobilenetv2_050", encoder_weights="none", encoder_padding="same")
        model.save(tmp_path, {"val_miou": 0.25, "iou_cat": None})
        config = json.loads((tmp_path / CONFIG_FILE).read_text(encoding="utf-8"))
        assert config["classes"] == list(CLASSES)
        assert config["palette"] == [list(color) for color in PALETTE]
        assert (config["size"], config["mean"], config["std"]) == (64, [0.0] * 3, [255.0] * 3)
        assert (config["encoder"], config["decoder"], config["encoder_padding"]) == (
            "mobilenetv2_050",
            "pix2pix",
            "same",
        )
        assert config["metrics"] == {"val_miou": 0.25, "iou_cat": None}
        assert "mean" not in load_file(tmp_path / WEIGHTS_FILE)

    def test_padding_and_layers_are_restored(self, tmp_path: Path) -> None:
        layers = ("blocks.1.0.bn1", "blocks.2.0.bn1")
        build(encoder="mobilenetv2_050", encoder_layers=layers, encoder_padding="same").save(tmp_path)
        loaded = SegmentationModel.load(tmp_path)
        assert loaded.encoder.feature_names == layers and loaded.config.encoder_layers == layers
        assert type(loaded.encoder.backbone.get_submodule("conv_stem")).__name__ == "Conv2dSame"

    def test_saving_over_an_earlier_model_replaces_it(self, tmp_path: Path) -> None:
        model = build()
        model.save(tmp_path, {"val_miou": 0.1})
        nn.init.constant_(next(model.decoder.parameters()), 0.5)
        model.save(tmp_path, {"val_miou": 0.2})
        loaded = SegmentationModel.load(tmp_path)
        assert loaded.config.metrics == {"val_miou": 0.2}
        assert (next(loaded.decoder.parameters()) == 0.5).all()


def _drop_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    del tensors[next(name for name in tensors if name.startswith("decoder"))]
    save_file(tensors, folder / WEIGHTS_FILE)


def _remove_files(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def _truncate(folder: Path) -> None:
    data = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(data[: len(data) // 2])


def _config(**changes: object) -> Callable[[Path], None]:
    """Return a function that changes the configuration in both files."""

    def change(folder: Path) -> None:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        text = json.dumps(config | changes)
        (folder / CONFIG_FILE).write_text(text, encoding="utf-8")
        save_file(load_file(folder / WEIGHTS_FILE), folder / WEIGHTS_FILE, metadata={METADATA_KEY: text})

    return change


def _config_file(content: str | bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / CONFIG_FILE).write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no file": (
        _remove_files,
        r"model\.safetensors: no model here; train one first",
    ),
    "no weights": (lambda f: (f / WEIGHTS_FILE).unlink(), r"no model here"),
    "an empty configuration": (_config_file(""), "cannot be read"),
    "half a configuration": (_config_file('{"classes": ["cat"'), "cannot be read"),
    "a configuration in no text": (_config_file(b"\xff\xfe\x00\x81"), "cannot be read"),
    "another configuration": (_config_file('{"title": 1}'), "cannot be read"),
    "half the weights": (_truncate, "cannot be read"),
    "weights in another format": (lambda f: (f / WEIGHTS_FILE).write_bytes(b"pickle"), "cannot be read"),
    "a missing tensor": (_drop_a_tensor, "not the weights"),
    "more classes": (_config(classes=["a", "b", "c", "d"]), "not the weights"),
    "another decoder": (_config(decoder="pix2pix"), "not the weights"),
    "an unknown decoder": (_config(decoder="heavy"), "unknown decoder 'heavy'"),
    "an unknown encoder": (_config(encoder="resnet19"), "resnet19"),
    "a later format": (_config(format=99), "format"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_raises_in_one_line(damage: str, tmp_path: Path) -> None:
    build().save(tmp_path)
    make, message = DAMAGES[damage]
    make(tmp_path)
    with pytest.raises(RunError, match=message) as caught:
        SegmentationModel.load(tmp_path)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 500
    assert str(tmp_path) in text


def test_the_weights_file_is_enough(tmp_path: Path) -> None:
    model = build(decoder={"name": "fpn", "widths": [16, 8]})
    model.save(tmp_path, {"val_miou": 0.5})
    (tmp_path / CONFIG_FILE).unlink()
    loaded = SegmentationModel.load(tmp_path)
    assert loaded.config == model.config.model_copy(update={"metrics": {"val_miou": 0.5}})
    with torch.no_grad():
        assert torch.equal(loaded(make_images()), model.eval()(make_images()))


def test_a_model_json_of_another_model_is_refused(tmp_path: Path) -> None:
    build().save(tmp_path)
    config = json.loads((tmp_path / CONFIG_FILE).read_text(encoding="utf-8"))
    (tmp_path / CONFIG_FILE).write_text(json.dumps(config | {"classes": ["dog", "cat", "rest"]}), encoding="utf-8")
    with pytest.raises(RunError, match=r"model\.json: differs from the configuration in model\.safetensors"):
        SegmentationModel.load(tmp_path)


@pytest.mark.parametrize("killed_at", [WEIGHTS_FILE, CONFIG_FILE])
def test_a_save_that_is_killed_leaves_weights_with_their_own_metrics(
    killed_at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill the second save before one of its files is put in place."""
    model = build()
    first = next(model.decoder.parameters())
    nn.init.constant_(first, 0.25)
    model.save(tmp_path, {"val_miou": 0.25})
    replace = Path.replace

    def killed(path: Path, target: Path) -> Path:
        if Path(target).name == killed_at:
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    nn.init.constant_(first, 0.75)
    with pytest.raises(KeyboardInterrupt):
        model.save(tmp_path, {"val_miou": 0.75})
    monkeypatch.undo()
    loaded = SegmentationModel.load(tmp_path)
    value = 0.25 if killed_at == WEIGHTS_FILE else 0.75
    assert loaded.config.metrics == {"val_miou": value}
    assert (next(loaded.decoder.parameters()) == value).all()
    assert {path.name for path in tmp_path.iterdir()} == {WEIGHTS_FILE, CONFIG_FILE}


def test_a_model_of_format_1_is_translated(tmp_path: Path) -> None:
    """Write a model as version 0.1 did: old names of fields and tensors, no metadata."""
    model = build().eval()
    model.save(tmp_path)
    config = json.loads((tmp_path / CONFIG_FILE).read_text(encoding="utf-8"))
    config |= {"format": 1, "decoder": "light", "multilabel": True, "bits": 12, "layers": None, "padding": "native"}
    for name in ("task", "bit_depth", "encoder_layers", "encoder_padding"):
        del config[name]
    (tmp_path / CONFIG_FILE).write_text(json.dumps(config), encoding="utf-8")
    old = {
        name.replace("encoder.backbone.", "encoder.body.").replace("decoder.stages.", "decoder.levels."): tensor
        for name, tensor in load_file(tmp_path / WEIGHTS_FILE).items()
    }
    save_file(old, tmp_path / WEIGHTS_FILE)
    loaded = SegmentationModel.load(tmp_path)
    assert (loaded.config.format, loaded.config.decoder, loaded.config.bit_depth) == (2, "fpn", 12)
    assert loaded.config.task is MULTILABEL
    with torch.no_grad():
        assert torch.equal(loaded(make_images()), model(make_images()))


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
            bit_depth=12,
            task="multilabel",
            image_size=96,
        )
        config = model.config
        assert (config.classes, config.size, config.bit_depth, config.task) == (CLASSES, 96, 12, MULTILABEL)
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
    config = build().config
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValueError, match="extra"):
        ModelConfig.model_validate({**config.model_dump(), "color": "red"})


def test_logits_do_not_depend_on_the_memory_layout() -> None:
    model = build().eval()
    images = make_images()
    with torch.no_grad():
        one = model(images)
        other = model(images.contiguous(memory_format=torch.channels_last))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
