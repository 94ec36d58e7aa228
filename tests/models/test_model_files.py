"""The files of a model: saved, loaded, damaged, killed while saving, of format 1."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from pixelwise.data.task import MULTILABEL
from pixelwise.errors import RunError
from pixelwise.models.model import SegmentationModel, create_model
from pixelwise.models.model_files import CONFIG_FILE, METADATA_KEY, WEIGHTS_FILE
from tests.models.helpers import CLASSES, PALETTE, build_model, make_images


class TestSaveAndLoad:
    @pytest.mark.parametrize(("size", "stored"), [((48, 64), "48x64"), ([64, 64], 64), (64, 64)], ids=str)
    def test_the_size_can_be_a_height_and_a_width(self, size: Any, stored: str | int, tmp_path: Path) -> None:
        model = create_model("mobilenetv3_small_050", image_size=size, encoder_weights="none").eval()
        model.save(tmp_path / "model")
        assert json.loads((tmp_path / "model" / CONFIG_FILE).read_text())["size"] == stored
        loaded = SegmentationModel.load(tmp_path / "model").eval()
        assert loaded.config == model.config
        with torch.no_grad():
            assert torch.equal(loaded(make_images(size=(48, 64))), model(make_images(size=(48, 64))))

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
        model = build_model(decoder=decoder, **encoder)
        model.train()(make_images())  # changes the batch norm statistics
        model.eval().save(tmp_path, {"val_miou": 0.5})
        loaded = SegmentationModel.load(tmp_path)
        assert not loaded.training
        with torch.no_grad():
            assert torch.equal(loaded(make_images(size=(64, 80))), model(make_images(size=(64, 80))))

    def test_it_writes_two_files_without_pickle(self, tmp_path: Path) -> None:
        build_model().save(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {WEIGHTS_FILE, CONFIG_FILE}
        assert load_file(tmp_path / WEIGHTS_FILE)
        assert json.loads((tmp_path / CONFIG_FILE).read_text(encoding="utf-8"))

    def test_model_json_has_the_configuration(self, tmp_path: Path) -> None:
        model = build_model("tutorial", encoder="mobilenetv2_050", encoder_weights="none", encoder_padding="same")
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
        build_model(encoder="mobilenetv2_050", encoder_layers=layers, encoder_padding="same").save(tmp_path)
        loaded = SegmentationModel.load(tmp_path)
        assert loaded.encoder.feature_names == layers and loaded.config.encoder_layers == layers
        assert isinstance(loaded.encoder.backbone.get_submodule("conv_stem"), Conv2dSame)

    def test_saving_over_an_earlier_model_replaces_it(self, tmp_path: Path) -> None:
        model = build_model()
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
    "more classes": (_config(classes=["a", "b", "c", "d"], palette=[[9, 9, 9]] * 4), "not the weights"),
    "another decoder": (_config(decoder="pix2pix"), "not the weights"),
    "an unknown decoder": (_config(decoder="heavy"), "unknown decoder 'heavy'"),
    "an unknown encoder": (_config(encoder="resnet19"), "resnet19"),
    "a later format": (_config(format=99), "format"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_raises_in_one_line(damage: str, tmp_path: Path) -> None:
    build_model().save(tmp_path)
    make, message = DAMAGES[damage]
    make(tmp_path)
    with pytest.raises(RunError, match=message) as caught:
        SegmentationModel.load(tmp_path)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 500
    assert str(tmp_path) in text


def test_the_weights_file_is_enough(tmp_path: Path) -> None:
    model = build_model(decoder={"name": "fpn", "widths": [16, 8]})
    model.save(tmp_path, {"val_miou": 0.5})
    (tmp_path / CONFIG_FILE).unlink()
    loaded = SegmentationModel.load(tmp_path)
    assert loaded.config == model.config.model_copy(update={"metrics": {"val_miou": 0.5}})
    with torch.no_grad():
        assert torch.equal(loaded(make_images()), model.eval()(make_images()))


def test_a_model_json_of_another_model_is_refused(tmp_path: Path) -> None:
    build_model().save(tmp_path)
    config = json.loads((tmp_path / CONFIG_FILE).read_text(encoding="utf-8"))
    (tmp_path / CONFIG_FILE).write_text(json.dumps(config | {"classes": ["dog", "cat", "rest"]}), encoding="utf-8")
    with pytest.raises(RunError, match=r"model\.json: differs from the configuration in model\.safetensors"):
        SegmentationModel.load(tmp_path)


@pytest.mark.parametrize("killed_at", [WEIGHTS_FILE, CONFIG_FILE])
def test_a_save_that_is_killed_leaves_weights_with_their_own_metrics(
    killed_at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill the second save before one of its files is put in place."""
    model = build_model()
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
    model = build_model().eval()
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
