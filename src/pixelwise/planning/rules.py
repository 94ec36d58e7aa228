"""The plan: every decision about a training, drawn from what was found in the data, with its reason on the same line.

The idea is nnU-Net's (Isensee et al. 2021): rules look at the data's fingerprint, and a person can read and change what
they decided. plan.yaml has two parts: `data`, how the files are read, and `settings`, fields of `Config`.
"""

import re
from collections.abc import Mapping
from typing import Any

import psutil
import torch

from pixelwise.config import Config
from pixelwise.data.analysis.inspection import ClassStats, DatasetReport
from pixelwise.data.augmentations import source_size
from pixelwise.data.spec import DatasetSpec
from pixelwise.data.task import MULTILABEL
from pixelwise.losses import check_loss
from pixelwise.losses.class_weights import check_class_weights
from pixelwise.models.encoder import has_fixed_input_size
from pixelwise.planning.plan import Plan
from pixelwise.planning.timing import estimate_training_time
from pixelwise.runtime.device import resolve_device
from pixelwise.runtime.progress import Progress, no_progress

SIZES = (128, 160, 192, 224, 256, 320, 384, 448, 512)
"""What a plan chooses from: multiples of 32, the encoders' coarsest step."""


WIDTH_PIXELS = 6
"""How wide, in pixels, the narrowest class should be where it is shown (docs/decisions.md)."""


MIN_SIZE = 192
"""Where no class is narrow; below it the edges of large things suffer too (docs/decisions.md)."""


IMAGES_SHOWN = 12_000
"""Images that a training shows, epochs times images; on two CPU cores a minute or two at 128 px."""


RARE = 0.03
"""The share of pixels below which a class is rare (docs/decisions.md)."""


BYTES_A_PIXEL = 1500
"""Memory that a training step takes for each pixel of a batch with the default encoder and decoder: 1,110 to 1,290
bytes were measured at 128 to 384 px, and some to spare."""


DEFAULT = Config.from_preset()
"""What a plan keeps where it decides nothing else."""


_LEFT_RIGHT = re.compile(
    r"(^|[^a-z])(left|right|links|rechts|linke[rs]?|rechte[rs]?|gauche|droite?|izquierd[ao]|derech[ao]|[lr])([^a-z]|$)"
)


def make_plan(
    found: DatasetReport, given: Mapping[str, Any] | None = None, timed: bool = True, progress: Progress = no_progress
) -> Plan:
    """Decide everything about a training from what was found in the data.

    Args:
        found: what `inspect` found.
        given: settings that a person has decided already; the others are decided to go with them.
        timed: measure how long it will take here, on a few steps; the decisions do not depend on it.
        progress: see `Progress`; of those steps.

    Raises ConfigError where what is given does not fit the data.
    """
    data = found.data
    settings: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    given = given or {}

    def decide(name: str, value: object, reason: str) -> None:
        settings[name], reasons[name] = (given[name], "as given") if name in given else (value, reason)

    training = len(data.train) if data.val else round(len(data.train) * (1 - DEFAULT.val_fraction))
    decide("image_size", *_size(found))
    decide("batch_size", *_batch_size(settings["image_size"], training, given.get("device", "auto")))
    decide("epochs", *_epochs(training))
    decide("encoder", DEFAULT.encoder, "its ImageNet weights come inside a package; quick on any machine")
    weights = Config.from_preset(**given).encoder_weights
    decide("encoder_weights", weights, "pretrained weights need far fewer images than a random start")
    decide("encoder_training", *(_freeze(training) if weights != "none" else ("auto", "it starts at random")))
    decide("augmentation", *_augment(found))
    decide("eval_scale", *_predict_scale(settings["augmentation"], settings["encoder"]))
    decide("loss", *_loss(found))
    decide("class_weights", *_class_weights(found, settings["loss"]))
    if not data.val:
        how = f"whole groups ({data.group_summary})" if data.group_summary else "images at random, evenly over kinds"
        decide(
            "val_fraction", DEFAULT.val_fraction, f"no val split was found: {how}; test is not touched"
        )
    for name in given:
        decide(name, None, "")
    config = Config.from_preset(base=settings, **given)
    reasons["eval_scale"] += f": {config.eval_size} px"
    check_class_weights(config.class_weights, data.classes)
    check_loss(config.loss, data.read_spec.task)
    if timed:
        seconds = estimate_training_time(found, config, training, progress)
        reasons["epochs"] += f"; about {_duration(seconds)} in all on this machine, measured on a few steps"
    manifest = DatasetSpec.of(data)
    reasons |= {f"class {each.name}": _class_line(each.pixel_fraction, each.image_count) for each in found.classes}
    return Plan(manifest, settings, reasons)


def _class_line(share: float, images: int) -> str:
    return f"{share:.2%} of pixels, on {images} image{'s' * (images != 1)}"


def _size(found: DatasetReport) -> tuple[int, str]:
    widths = {each.name: each.mean_width for each in found.classes if each.mean_width}
    if not widths:
        return MIN_SIZE, "no object was found to tell a size from"
    name, width = min(widths.items(), key=lambda item: item[1])
    image = (found.widths.median * found.heights.median) ** 0.5
    wanted = max(WIDTH_PIXELS / width, MIN_SIZE)
    size = next((each for each in SIZES if each >= wanted), SIZES[-1])
    largest = max((each for each in SIZES if each <= image), default=SIZES[0])
    what = f"'{name}' is typically {width:.1%} of an image's side wide"
    if size > largest:
        return largest, f"{what}; images are {found.widths.median:.0f}x{found.heights.median:.0f}, larger adds nothing"
    return size, f"{what}: {width * size:.0f} px here (at least {WIDTH_PIXELS} are wanted)"


def _batch_size(size: int, training: int, device: str) -> tuple[int, str]:
    chosen = resolve_device(device)
    if chosen.type == "cuda":
        memory, share, where = torch.cuda.get_device_properties(chosen).total_memory, 0.6, "the GPU's memory"
    else:
        memory, share, where = psutil.virtual_memory().total, 0.25, "memory"
    need = BYTES_A_PIXEL * size * size
    fits = int(memory * share / need)
    # An epoch of a few steps only would learn little: small data sets get small batches.
    wanted = min(16, max(2, training // 8))
    batch = next((each for each in (16, 8, 4, 2) if each <= min(fits, wanted)), 2)
    reason = f"{batch * need / 2**30:.1f} GiB of {memory / 2**30:.0f} GiB of {where}"
    return (
        batch,
        reason if wanted == 16 else f"{reason}; an epoch of {training} images has {-(-training // batch)} steps",
    )


def _epochs(training: int) -> tuple[int, str]:
    epochs = min(max(round(IMAGES_SHOWN / max(training, 1)), 8), 200)
    return epochs, f"{training} images to train on are shown {epochs * training:,} times in all"


def _freeze(training: int) -> tuple[str, str]:
    if training < 24:
        return "none", f"{training} images are too few to tune its weights"
    return "auto", f"{training} images: its weights are tuned after a quarter of the epochs"


def _augment(found: DatasetReport) -> tuple[str, str]:
    sided = [name for name in found.data.classes if _LEFT_RIGHT.search(name.lower().replace("_", " "))]
    if sided:
        return "crop-noflip", f"'{sided[0]}' is about sides: a mirrored image would teach the wrong one"
    return "crop", "crops, mirroring and colors; no class is about left and right"


def _predict_scale(augment: str, encoder: str) -> tuple[float, str]:
    scale = source_size(augment, 100) / 100
    if scale == 1:
        return 1.0, "whole images, as in training"
    if has_fixed_input_size(encoder):
        return 1.0, "the encoder takes images of one size"
    return scale, "whole images, with things about as large as the crops show them in training"


def _loss(found: DatasetReport) -> tuple[str, str]:
    if found.data.read_spec.task is MULTILABEL:
        return "bce_dice", "a pixel can be of several classes"
    present = _by_share(found)
    if not present:
        return DEFAULT.loss, "no class is on any image to train on"
    what = f"'{present[0].name}' has {present[0].train_fraction:.2%} of pixels"
    if present[0].train_fraction < RARE:
        return "cross_entropy_dice", f"{what}: Dice counts each class the same"
    return "cross_entropy", f"no class is rare: {what}"


def _class_weights(found: DatasetReport, loss: str) -> tuple[str, str]:
    if loss == "dice" or found.data.read_spec.task is MULTILABEL:
        return "none", "Dice counts each class the same"
    present = _by_share(found)
    if not present or present[0].train_fraction >= RARE:
        return "none", f"no class has less than {RARE:.0%} of pixels"
    rarest, commonest = present[0], present[-1]
    times = (commonest.train_fraction / rarest.train_fraction) ** 0.5
    return "inverse_sqrt", f"by shares: a pixel of '{rarest.name}' counts {times:.1f} times one of '{commonest.name}'"


def _by_share(found: DatasetReport) -> list[ClassStats]:
    """The classes that are on images to train on, from the rarest to the commonest."""
    return sorted((each for each in found.classes if each.train_fraction), key=lambda each: each.train_fraction)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
