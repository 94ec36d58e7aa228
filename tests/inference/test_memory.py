"""Tests of bounded memory: large images are read alone, and a lack of memory fails one image."""

import gc
import weakref
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pixelwise.data.io.image import read_image
from pixelwise.inference import image_predictor as predictor_module
from pixelwise.inference import inputs, make_prediction
from pixelwise.inference.prediction import Prediction
from pixelwise.inference.predictor import Predictor
from tests.inference.helpers import make_image


def test_large_images_are_read_and_predicted_alone(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor_module, "READ_AHEAD_BYTES", 10_000)
    monkeypatch.setattr(predictor_module, "GROUP_BYTES", 5_000)
    sides = [20, 20, 20, 100, 100, 20, 50]
    for number, side in enumerate(sides):
        Image.fromarray(make_image(side, side, number)).save(tmp_path / f"{number}.png")
    batches: list[list[int]] = []
    alive: list[weakref.ref[np.ndarray]] = []
    logits = predictor.logits

    def observed(images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        gc.collect()
        batches.append([len(image) for image in images])
        waiting = sum(array.nbytes for ref in alive if (array := ref()) is not None)
        assert waiting <= 35_000, "one large image and a batch of small ones: images that were predicted are freed"
        return logits(images)

    def read(path: Path, *args: Any, **kwargs: Any) -> np.ndarray:
        image = read_image(path, *args, **kwargs)
        alive.append(weakref.ref(image))
        if len(image) == 100:
            others = [ref for ref in alive[:-1] if (array := ref()) is not None and len(array) == 100]
            assert not others, "a large image is read when the one before is done"
        return image

    monkeypatch.setattr(predictor, "logits", observed)
    monkeypatch.setattr(inputs, "read_image", read)
    predictions = predictor.iter_predictions([tmp_path / f"{number}.png" for number in range(7)])
    for side in sides:
        _, result = next(predictions)
        assert isinstance(result, Prediction) and result.mask.shape == (side, side)
        del result
    assert [100] in batches and list(chain(*batches)) == sides


def test_a_lack_of_memory_fails_only_the_image(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{side}.png" for side in (20, 30, 40)]
    for path in paths:
        Image.fromarray(make_image(int(path.stem), 25)).save(path)
    logits = predictor.logits

    def limited(images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        if any(len(image) == 30 for image in images):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 17179869120 bytes")
        return logits(images)

    monkeypatch.setattr(predictor, "logits", limited)
    results = [result for _, result in predictor.iter_predictions(paths)]
    assert [isinstance(result, Prediction) for result in results] == [True, False, True]
    assert str(results[1]).startswith(f"{paths[1]}: not enough memory for 25x30 pixels; ")


def test_other_errors_are_not_hidden(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(make_prediction, "resize_to_mask", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        list(predictor.predict_each([make_image()]))
