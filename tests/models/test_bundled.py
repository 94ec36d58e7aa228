"""The model for pets in the package: its files, its weights and its masks."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image

import pixelwise as pw
from pixelwise.cli.demo import find_chelsea
from pixelwise.models.bundled import BUNDLED_FOLDER, load_bundled_model, round_model
from pixelwise.models.pretrained import load_pretrained_weights

MAX_BYTES = 2_000_000

PAGE = Path(__file__).parents[2] / "docs" / "pets-model.md"


@pytest.fixture(scope="module")
def model() -> pw.SegmentationModel:
    return load_bundled_model()


def test_the_files_are_small_and_contain_no_image() -> None:
    files = {file.name: file.stat().st_size for file in BUNDLED_FOLDER.iterdir()}
    assert sorted(files) == ["README.md", "model.json", "model.safetensors"]
    assert sum(files.values()) < MAX_BYTES


def test_the_convolutions_of_the_encoder_are_those_of_its_package(model: pw.SegmentationModel) -> None:
    tensors = load_pretrained_weights(model.config.encoder, "bundled").tensors
    assert tensors is not None
    state = model.encoder.backbone.state_dict()
    kept = [name for name in state if name in tensors and state[name].ndim == 4]
    assert len(kept) == 48
    assert all(torch.equal(state[name], tensors[name]) for name in kept)


def test_rounding_again_changes_nothing(model: pw.SegmentationModel) -> None:
    from safetensors.torch import load_file

    stored, again = load_file(BUNDLED_FOLDER / "model.safetensors"), round_model(model)
    assert stored.keys() == again.keys()
    assert all(torch.equal(stored[name], again[name]) for name in stored)
    assert all(name.startswith("decoder.") or name.rpartition(".")[2] in ("weight", "bias") for name in stored)


def test_a_predictor_without_a_path_finds_the_cat() -> None:
    photo = find_chelsea()
    if photo is None:
        pytest.skip("needs scikit-image")
    predictor = pw.Predictor.load(device="cpu")
    prediction = predictor(photo)
    assert predictor.classes == ("pet", "background", "border")
    height, width = np.asarray(Image.open(photo)).shape[:2]
    assert prediction.mask.shape == (height, width)
    # The cat's head fills the middle of the image. The corner at the top left is the sofa.
    assert (prediction.mask[120:200, 180:280] == 0).mean() > 0.95
    assert (prediction.mask[:20, :40] == 1).mean() > 0.5


def test_the_card_is_that_of_the_documentation(model: pw.SegmentationModel) -> None:
    text = (BUNDLED_FOLDER / "README.md").read_text(encoding="utf-8")
    assert text.split("---\n\n", 1)[1] == PAGE.read_text(encoding="utf-8")
    assert "cc-by-sa-4.0" in text and "Oxford-IIIT Pet" in text
    results = ModelCard(text).data.eval_results  # type: ignore[attr-defined]
    (score,) = [result for result in results if result.metric_type == "mean_iou"]
    assert score.dataset_split == "test"
    assert f"{score.metric_value:.3f}" in text.split("## Scores")[1].split("##")[0]


def test_model_json_has_the_license_of_the_training_images() -> None:
    content = json.loads((BUNDLED_FOLDER / "model.json").read_text(encoding="utf-8"))
    assert content["licenses"]["training data"] == "cc-by-sa-4.0"
