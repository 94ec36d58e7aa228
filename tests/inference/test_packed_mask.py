"""Compressed multi-label masks: results equal those of arrays, in a small part of the memory."""

import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from pixelwise.data.task import MULTILABEL
from pixelwise.inference import bands
from pixelwise.inference.bands import resize_to_mask, resize_to_packed_mask
from pixelwise.inference.batch import predict_folder
from pixelwise.inference.packed_mask import PackedMask
from pixelwise.inference.prediction import Prediction
from pixelwise.inference.predictor import Predictor
from pixelwise.models.model import create_model

LOGITS = torch.randn(5, 9, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(1, 1), (3, 8), (40, 17), (13, 64)])
def test_a_packed_mask_has_the_values_of_an_array(size: tuple[int, int]) -> None:
    dense, _ = resize_to_mask(LOGITS, size, MULTILABEL)
    packed = resize_to_packed_mask(LOGITS, size, MULTILABEL, max_bytes=2000)
    assert packed.shape == dense.shape and len(packed) == 5 and packed.ndim == dense.ndim
    np.testing.assert_array_equal(np.asarray(packed), dense)
    np.testing.assert_array_equal(np.stack(list(packed)), dense)
    np.testing.assert_array_equal(packed[3], dense[3])
    assert np.asarray(packed, bool).dtype == bool
    with pytest.raises(ValueError, match="without a copy"):
        np.array(packed, copy=False)
    with pytest.raises(IndexError):
        packed[5]


def test_all_that_is_computed_from_it_is_equal() -> None:
    size = (40, 17)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    classes, palette = tuple("abcde"), tuple((index * 50, 0, 0) for index in range(5))
    masks = resize_to_mask(LOGITS, size, MULTILABEL)[0], resize_to_packed_mask(LOGITS, size, MULTILABEL)
    dense, packed = (Prediction(image, mask, classes, palette, task=MULTILABEL) for mask in masks)  # type: ignore[arg-type]
    assert packed.areas == dense.areas and packed.class_fractions == dense.class_fractions
    assert packed.overlay() == dense.overlay()
    assert packed.to_indexed_pngs() == dense.to_indexed_pngs()
    assert packed.objects == dense.objects and len(packed.objects) > 10


def test_the_files_are_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = create_model("test_efficientnet", classes=4, image_size=32, encoder_weights="none", task="multilabel")
    predictor = Predictor(model, "cpu")
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (50, 61, 3), np.uint8)).save(tmp_path / "a.png")
    predict_folder(predictor, [tmp_path / "a.png"], tmp_path / "dense")
    made: list[tuple[int, ...]] = []

    class Recorded(PackedMask):
        def __init__(self, channels: Iterable[npt.NDArray[np.uint8]]) -> None:
            super().__init__(channels)
            made.append(self.shape)

    monkeypatch.setattr(bands, "PackedMask", Recorded)
    monkeypatch.setattr(bands, "_MAX_UNPACKED_BYTES", 0)
    predict_folder(predictor, [tmp_path / "a.png"], tmp_path / "packed")
    assert made == [(4, 50, 61)]
    names = sorted(path.name for path in (tmp_path / "dense").iterdir())
    assert len(names) > 5 and names == sorted(path.name for path in (tmp_path / "packed").iterdir())
    for name in names:
        assert (tmp_path / "dense" / name).read_bytes() == (tmp_path / "packed" / name).read_bytes(), name
    assert type(predictor(tmp_path / "a.png").mask) is np.ndarray


def test_memory_hardly_grows_with_the_number_of_classes() -> None:
    size, classes = (1000, 1000), 40
    logits = torch.randn(classes, 8, 8, generator=torch.Generator().manual_seed(1))
    tracemalloc.start()
    mask = resize_to_packed_mask(logits, size, MULTILABEL, max_bytes=1 << 20)
    kept, used = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert mask.shape == (classes, *size)
    assert kept < 1 << 20 and used < 3 << 20, "one class at a time, where all would take 40 MB"
