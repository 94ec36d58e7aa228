"""A decoder of segmentation_models_pytorch in a training with the default callbacks."""

from pathlib import Path

import pytest

import pixelwise as pw

pytestmark = pytest.mark.integration


def test_a_run_with_a_decoder_of_smp_trains_and_predicts(
    pets: pw.DatasetIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    decoder = {"name": "smp/unetplusplus", "channels": [16, 16, 16, 8, 8]}
    run = pw.train(
        pets,
        tmp_path / "run",
        encoder="test_efficientnet",
        encoder_weights="none",
        decoder=decoder,
        image_size=64,
        epochs=1,
        batch_size=4,
        device="cpu",
    )
    assert run.architecture_image.is_file()
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    predictor = pw.Predictor.load(run.path, device="cpu")
    assert predictor.config.decoder == decoder
    height, width = predictor(str(pets.test[0].image)).mask.shape
    assert (height, width) != (64, 64)
