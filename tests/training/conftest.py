"""A finished training that several modules compare with."""

from typing import NamedTuple

import pytest
from torch import Tensor

import pixelwise as pw
from tests.training.helpers import SMALL, RecordWeights


class FullRun(NamedTuple):
    """An uninterrupted training with the settings `SMALL`, and the weights after each of its epochs."""

    run: pw.Run
    models: list[dict[str, Tensor]]


@pytest.fixture(scope="session")
def full_run(pets: pw.DatasetIndex, tmp_path_factory: pytest.TempPathFactory) -> FullRun:
    weights = RecordWeights()
    run = pw.train(pets, tmp_path_factory.mktemp("runs") / "full", callbacks=[weights], **SMALL)
    return FullRun(run, weights.models)
