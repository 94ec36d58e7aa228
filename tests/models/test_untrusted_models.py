"""Models of strangers: each field of model.json has limits, and loading uses no network."""

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from torch import nn

from pixelwise.errors import ConfigError, RunError
from pixelwise.models.model import SegmentationModel, create_model
from pixelwise.models.model_files import CONFIG_FILE, METADATA_KEY, WEIGHTS_FILE
from pixelwise.models.weight_limit import limit_weights
from tests.models.helpers import build_model

resource = pytest.importorskip("resource")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    build_model().save(folder)
    return folder


def write_changed(saved: Path, folder: Path, **changes: object) -> None:
    """Write the model with other fields in both of its files."""
    text = json.dumps(json.loads((saved / CONFIG_FILE).read_text(encoding="utf-8")) | changes)
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")
    save_file(load_file(saved / WEIGHTS_FILE), folder / WEIGHTS_FILE, metadata={METADATA_KEY: text})


GRAYS = [[0, 0, 0]] * 3

CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"encoder": "hf-hub:stranger/model"}, "encoder"),
    ({"encoder": "hf_hub:stranger/model"}, "encoder"),
    ({"encoder": "local-dir:/tmp/model"}, "encoder"),
    ({"encoder": "timm/resnet18"}, "encoder"),
    ({"task": {}}, "task: choose from: multiclass, multilabel"),
    ({"task": "multiclas"}, "task: choose from: multiclass, multilabel"),
    ({"encoder": "resnet19"}, "unknown encoder 'resnet19'"),
    ({"encoder": ""}, "encoder"),
    ({"encoder": "a" * 1000}, "encoder"),
    ({"encoder_layers": [""]}, "encoder_layers"),
    ({"encoder_layers": ["a"] * 101}, "encoder_layers"),
    ({"size": 12000}, "size"),
    ({"size": 2**70}, "size"),
    ({"size": 0}, "size"),
    ({"size": -64}, "size"),
    ({"palette": []}, "the palette has 0 colors for 3 classes"),
    ({"palette": [[0, 0, 0]]}, "the palette has 1 colors for 3 classes"),
    ({"palette": [[0, 0, 0]] * 1000}, "the palette has 1000 colors for 3 classes"),
    ({"palette": [[300, 0, 0], *GRAYS[:2]]}, "palette"),
    ({"palette": [[-1, 0, 0], *GRAYS[:2]]}, "palette"),
    ({"std": [0.0] * 3}, "std must be greater than 0"),
    ({"std": [-1.0] * 3}, "std must be greater than 0"),
    ({"std": [float("nan")] * 3}, "std"),
    ({"std": [float("inf")] * 3}, "std"),
    ({"std": [1.0]}, "std has 1 values, and mean 3"),
    ({"mean": [float("nan")] * 3}, "mean"),
    ({"mean": []}, "mean"),
    ({"mean": [0.0] * 5000, "std": [1.0] * 5000}, "mean"),
    ({"bit_depth": 0}, "bit_depth"),
    ({"bit_depth": 99}, "bit_depth"),
    ({"bit_depth": -5}, "bit_depth"),
    ({"classes": ["cat", "cat", "rest"]}, "two classes have the name 'cat'"),
    ({"classes": []}, "classes"),
    ({"classes": ["", "a", "b"]}, "classes"),
    ({"classes": ["a" * 100_000, "b", "c"]}, "classes"),
    ({"classes": [str(index) for index in range(256)], "palette": [[0, 0, 0]] * 256}, "classes"),
    ({"decoder": {"name": "fpn", "widths": [10**9]}}, "widths"),
    ({"decoder": {"name": "fpn", "widths": [1] * 1000}}, "widths"),
    ({"decoder": {"name": "pix2pix", "max_filters": 10**9}}, "max_filters"),
    ({"metrics": {str(index): 0.0 for index in range(10_001)}}, "metrics"),
]


@pytest.mark.parametrize(("changes", "message"), CHANGES, ids=[str(change)[:40] for change, _ in CHANGES])
def test_a_field_outside_its_limits_is_an_error_in_one_line(
    changes: dict[str, Any], message: str, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", fail)
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    write_changed(saved, tmp_path, **changes)
    with pytest.raises(RunError) as error:
        SegmentationModel.load(tmp_path)
    text = str(error.value)
    assert message in text and str(tmp_path) in text and "\n" not in text and len(text) < 800


def test_a_configuration_that_is_too_deep_is_an_error(saved: Path, tmp_path: Path) -> None:
    write_changed(saved, tmp_path)
    (tmp_path / CONFIG_FILE).write_text("[" * 100_000)
    with pytest.raises(RunError, match=r"the model cannot be read \(.*\); copy its files again, or train it again$"):
        SegmentationModel.load(tmp_path)


def test_loading_uses_no_network(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", fail)
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert SegmentationModel.load(saved).config.encoder == "mobilenetv3_small_050"


def test_a_new_model_outside_the_limits_is_an_error_of_the_settings() -> None:
    with pytest.raises(ConfigError, match="size"):
        create_model("mobilenetv3_small_050", classes=2, encoder_weights="none", image_size=5000)
    with pytest.raises(ConfigError, match="two classes have the name 'a'"):
        create_model("mobilenetv3_small_050", classes=("a", "a"), encoder_weights="none")


@pytest.mark.parametrize("encoder", ["vit_giant_patch14_224", "convnext_xxlarge"])
def test_a_small_file_that_names_a_huge_encoder_is_refused_before_it_is_built(
    encoder: str, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have more than 3 GiB of weights. The limit is lower here, so that the test is quick."""
    monkeypatch.setattr("pixelwise.models.model._MAX_UNSAVED_BYTES", 8 << 20)
    write_changed(saved, tmp_path, encoder=encoder, encoder_layers=None)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RunError) as error:
        SegmentationModel.load(tmp_path)
    used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    text = str(error.value)
    assert text.startswith(f"{tmp_path / CONFIG_FILE}: ") and "of weights" in text and "\n" not in text
    assert used < 300, f"{used} MiB"


def test_weights_are_counted_in_the_block_and_in_its_thread_only() -> None:
    size = 100 * 100 * 4
    with limit_weights(size), pytest.raises(ConfigError, match="more than 0 MiB of weights"):
        nn.Linear(100, 100, bias=True)
    with limit_weights(size):
        nn.Linear(100, 100, bias=False)
        thread = threading.Thread(target=nn.Linear, args=(1000, 1000))
        thread.start()
        thread.join()
    nn.Linear(1000, 1000)
